package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/store"
)

// Where a passphrase or a key file is named, besides the flags. What is in the
// environment can be read by root and by processes of the same user.
const (
	envPassphrase     = "DMLSD_PASSPHRASE"
	envPassphraseFile = "DMLSD_PASSPHRASE_FILE"
	envKeyFile        = "DMLSD_KEY_FILE"
)

// unlock is what a command line says of the root key's sealing.
type unlock struct {
	passphraseFile, keyFile string
}

func unlockFlags(cmd *cobra.Command) *unlock {
	u := &unlock{}
	cmd.Flags().StringVar(&u.passphraseFile, "passphrase-file", os.Getenv(envPassphraseFile), "file with the passphrase of the store (else "+envPassphrase+", else it is asked for)")
	cmd.Flags().StringVar(&u.keyFile, "key-file", os.Getenv(envKeyFile), "key file of the store")
	return u
}

// opens is the sealing of a store that is there: a passphrase is looked for only
// if it is needed.
func (u *unlock) opens() store.Sealing {
	if u.keyFile != "" {
		return store.Sealing{KeyFile: u.keyFile}
	}
	return store.Sealing{Passphrase: func() ([]byte, error) { return u.passphrase(false) }}
}

// passphrase comes from a file, from the environment or from the terminal.
func (u *unlock) passphrase(twice bool) ([]byte, error) {
	if u.passphraseFile != "" {
		f, err := os.Open(u.passphraseFile)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, 4<<10))
		line, _, _ := bytes.Cut(b, []byte("\n"))
		return bytes.TrimSuffix(line, []byte("\r")), err
	}
	if p := os.Getenv(envPassphrase); p != "" {
		return []byte(p), nil
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, &api.Error{What: "no passphrase", Why: "there is no terminal to ask for it",
			Fix: "give it with --passphrase-file or " + envPassphrase, Code: api.Denied}
	}
	defer tty.Close()
	first, err := ask(tty, "passphrase: ")
	if err != nil || !twice {
		return first, err
	}
	second, err := ask(tty, "once more:  ")
	if err == nil && !bytes.Equal(first, second) {
		err = &api.Error{What: "no passphrase", Why: "the two differ", Fix: "try again", Code: api.Usage}
	}
	clear(second)
	return first, err
}

func ask(tty *os.File, prompt string) ([]byte, error) {
	fmt.Fprint(tty, prompt)
	b, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(tty)
	return b, err
}

// seal is the sealing that a new root key gets.
type seal struct {
	passphrase          *bool
	passphraseFile, key *string
}

// sealFlags names the flags of the new sealing after prefix.
func sealFlags(cmd *cobra.Command, prefix string) seal {
	return seal{
		passphrase:     cmd.Flags().Bool(prefix+"passphrase", false, "seal the root key with a passphrase ("+envPassphrase+", else it is asked for)"),
		passphraseFile: cmd.Flags().String(prefix+"passphrase-file", "", "seal it with the passphrase in a file"),
		key:            cmd.Flags().String(prefix+"key-file", "", "seal it with a key file, made if it is not there; keep it elsewhere"),
	}
}

func (s seal) wanted() bool { return *s.passphrase || *s.passphraseFile != "" || *s.key != "" }

func (s seal) sealing() (store.Sealing, error) {
	if *s.key == "" {
		if !s.wanted() {
			return store.Sealing{}, nil
		}
		u := &unlock{passphraseFile: *s.passphraseFile}
		return store.Sealing{Passphrase: func() ([]byte, error) { return u.passphrase(true) }}, nil
	}
	if *s.passphrase || *s.passphraseFile != "" {
		return store.Sealing{}, &api.Error{What: "two sealings", Why: "a root key is sealed with a passphrase or with a key file", Fix: "name one", Code: api.Usage}
	}
	if err := store.CreateKeyFile(*s.key); err != nil && !errors.Is(err, fs.ErrExist) {
		return store.Sealing{}, api.Explain("cannot make the key file", err, causes...)
	}
	return store.Sealing{KeyFile: *s.key}, nil
}
