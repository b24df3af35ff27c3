package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
)

// MemberPage is a part of a group's list of members, by leaf.
type MemberPage struct {
	Members []Member `json:"members"`
	Next    *uint32  `json:"next,omitempty"` // leaf after which the next page begins
}

// Pages of members.
const (
	pageMembers = 1000
	mostMembers = 10000
)

// members answers with the members whose leaf is above the parameter after, at
// most limit of them.
func (s *Server) members(r *http.Request, gid string) (any, error) {
	after, limit := int64(-1), int64(pageMembers)
	for name, v := range map[string]*int64{"after": &after, "limit": &limit} {
		text := r.URL.Query().Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, &Error{What: "cannot list members", Why: fmt.Sprintf("%s=%.40q is not a number", name, text), Fix: "use a leaf and a count", Code: Usage}
		}
		*v = int64(n)
	}
	limit = min(max(limit, 1), mostMembers)
	g, err := s.backend.Group(gid)
	if err != nil {
		return nil, err
	}
	page := MemberPage{Members: []Member{}}
	for _, m := range g.Members {
		if int64(m.Leaf) <= after {
			continue
		}
		if int64(len(page.Members)) == limit {
			last := page.Members[limit-1].Leaf
			page.Next = &last
			break
		}
		page.Members = append(page.Members, m)
	}
	return page, nil
}

// Members lists all members of a group, page by page.
func (c *Client) Members(ctx context.Context, ref string) ([]Member, error) {
	all := []Member{}
	for tail := "/members"; ; {
		var page MemberPage
		if err := c.call(ctx, "GET", groupPath(ref, tail), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Members...)
		if page.Next == nil {
			return all, nil
		}
		tail = fmt.Sprintf("/members?after=%d", *page.Next)
	}
}

// brief leaves the list of members out: a device may have many groups, and a
// group many members.
func brief(list []Group) []Group {
	out := make([]Group, len(list))
	for i, g := range list {
		out[i] = counted(g)
		out[i].Members = nil
	}
	return out
}

func counted(g Group) Group {
	g.MemberCount = len(g.Members)
	return g
}
