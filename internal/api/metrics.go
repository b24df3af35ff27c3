package api

import (
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dmlsd/dmls/node"
)

// Meter is a Backend that counts what its node and its transport do.
type Meter interface {
	Info() node.Info
	Counters() map[string]uint64
}

// The measures. No label names a group, a member or a peer: metrics are often
// kept longer, and read by more people, than messages.
var (
	mBuild     = measure("build_info", "The running build.", "version", "go")
	mUptime    = measure("uptime_seconds", "Time since the start.")
	mPeers     = measure("peers", "Peers, connected or blocked.", "state")
	mGroups    = measure("groups", "Groups of this device, by its state in them.", "state")
	mForks     = measure("forks_open", "Open forks, in all groups.")
	mForked    = measure("groups_forked", "Groups with an open fork.")
	mMembers   = measure("members", "Members of all groups, this device counted in each.")
	mParked    = measure("frames_parked", "Frames that wait for others.")
	mBlocks    = measure("blocks_held", "Sealed blocks held.")
	mEvents    = measure("events_total", "Entries of all event logs.")
	mEpochs    = measure("retained_epochs", "Epochs whose secrets are kept.")
	mSecrets   = measure("retained_secrets", "Secret records of these epochs.")
	mBytes     = measure("retained_secret_bytes", "Bytes of these records.")
	mExposure  = measure("exposure_seconds", "Age of the oldest retained epoch: what a thief could open at most.")
	mQueued    = measure("inputs_queued", "Inputs that wait for the engine.")
	mDropped   = measure("inputs_dropped_total", "Arrivals refused because too many waited; sync repairs them.")
	mNetwork   = measure("network_total", "What went through the transport, or was dropped there.", "what")
	mErasing   = measure("erasures_pending", "Records deleted or overwritten whose keys are not gone yet.")
	mErased    = measure("erased_total", "Records erased.")
	allMetrics = []*prometheus.Desc{mBuild, mUptime, mPeers, mGroups, mForks, mForked, mMembers, mParked, mBlocks, mEvents, mEpochs,
		mSecrets, mBytes, mExposure, mQueued, mDropped, mNetwork, mErasing, mErased}
)

func measure(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("dmlsd_"+name, help, labels, nil)
}

// collector reads the backend whenever it is asked.
type collector struct{ s *Server }

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range allMetrics {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge(mBuild, 1, c.s.version.Version, c.s.version.Go)
	gauge(mUptime, time.Since(c.s.began).Seconds())
	c.peers(gauge)
	c.groups(gauge, count)
	if m, ok := c.s.backend.(Meter); ok {
		info := m.Info()
		gauge(mQueued, float64(info.Queued))
		count(mDropped, float64(info.Dropped))
		for what, n := range m.Counters() {
			count(mNetwork, float64(n), what)
		}
	}
	if k, ok := c.s.backend.(Keeper); ok {
		if st, err := k.Keys(c.s.drain); err == nil {
			gauge(mErasing, float64(st.Pending))
			count(mErased, float64(st.Erased))
		}
	}
}

func (c collector) peers(gauge func(*prometheus.Desc, float64, ...string)) {
	connected, blocked := 0, 0
	for _, p := range c.s.backend.Peers() {
		if p.Blocked {
			blocked++
		} else {
			connected++
		}
	}
	gauge(mPeers, float64(connected), "connected")
	gauge(mPeers, float64(blocked), "blocked")
}

func (c collector) groups(gauge, count func(*prometheus.Desc, float64, ...string)) {
	states := map[string]int{"member": 0}
	var sum Group
	forked, members, events := 0, 0, uint64(0)
	for _, g := range c.s.backend.Groups() {
		states[g.State]++
		if g.ForksOpen > 0 {
			forked++
		}
		members += len(g.Members)
		events += g.Cursor
		sum.ForksOpen += g.ForksOpen
		sum.Parked += g.Parked
		sum.Blocks += g.Blocks
		sum.RetainedEpochs += g.RetainedEpochs
		sum.SecretsRetained += g.SecretsRetained
		sum.SecretBytes += g.SecretBytes
		if at := g.OldestRetained; at > 0 && (sum.OldestRetained == 0 || at < sum.OldestRetained) {
			sum.OldestRetained = at
		}
	}
	for state, n := range states {
		gauge(mGroups, float64(n), state)
	}
	gauge(mForks, float64(sum.ForksOpen))
	gauge(mForked, float64(forked))
	gauge(mMembers, float64(members))
	gauge(mParked, float64(sum.Parked))
	gauge(mBlocks, float64(sum.Blocks))
	count(mEvents, float64(events))
	gauge(mEpochs, float64(sum.RetainedEpochs))
	gauge(mSecrets, float64(sum.SecretsRetained))
	gauge(mBytes, float64(sum.SecretBytes))
	exposure := 0.0
	if sum.OldestRetained > 0 {
		exposure = time.Since(time.UnixMilli(sum.OldestRetained)).Seconds()
	}
	gauge(mExposure, exposure)
}

func (s *Server) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collector{s}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// health adds what may be asked without rights over the device.
func (s *Server) health(mux *http.ServeMux) {
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", s.metrics())
}

// Monitor serves health and metrics, and nothing else, for a port on loopback.
// A browser that was led there under another name is refused.
func (s *Server) Monitor() http.Handler {
	mux := http.NewServeMux()
	s.health(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if !slices.Contains([]string{"localhost", "127.0.0.1", "::1", "[::1]"}, host) {
			writeError(w, &Error{What: "refused", Why: "this port is for programs on this machine", Fix: "ask for localhost", Code: Denied})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// ListenLoopback opens a TCP port that only this machine can reach.
func ListenLoopback(addr string) (net.Listener, error) {
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil || a.IP == nil || !a.IP.IsLoopback() {
		return nil, &Error{What: "cannot listen on " + addr, Why: "it is not an address of loopback", Fix: "give one such as 127.0.0.1:9464", Code: Usage}
	}
	l, err := net.ListenTCP("tcp", a)
	if err != nil {
		return nil, Explain("cannot listen on "+addr, err)
	}
	return l, nil
}
