package dag

import "fmt"

// Why says in words why the chosen branch beats the next best one.
func (f Fork) Why() string {
	a, b := f.Chosen(), f.RunnerUp()
	switch f.Decided {
	case ByVotes:
		return whyVotes(a.Votes, b.Votes)
	case ByRank:
		return fmt.Sprintf("%s; its first commit is by an author of higher rank (%d before %d)", tie(a), a.AuthorRank, b.AuthorRank)
	case ByLeaf:
		return fmt.Sprintf("%s; its first commit is by the author with the lower leaf (%d before %d)", tie(a), a.AuthorLeaf, b.AuthorLeaf)
	case ByCID:
		return tie(a) + "; one author made both first commits, the lower id wins"
	case ByTag:
		return "its first commit has the higher confirmation tag"
	case ByComplaints:
		if a.Child == "" {
			return "more than a third of the voters could not open any of the branches"
		}
		return "more than a third of the voters could not open the other branch"
	case ByDepth:
		return fmt.Sprintf("%d against %d commits in a row", a.Depth, b.Depth)
	}
	return "decided by " + f.Decided
}

// whyVotes speaks of the first rank in which the counts differ.
func whyVotes(a, b []int) string {
	only := true // nobody but that rank voted
	at := -1
	for r := range a {
		if at < 0 && a[r] != b[r] {
			at = r
		} else if a[r]+b[r] > 0 {
			only = false
		}
	}
	switch {
	case only:
		return fmt.Sprintf("%s against %d", plural(a[at], "vote"), b[at])
	case at == 0:
		return fmt.Sprintf("%s against %d", plural(a[0], "admin vote"), b[0])
	}
	return fmt.Sprintf("equal votes above rank %d, there %s against %d", at, plural(a[at], "vote"), b[at])
}

func tie(a Branch) string {
	n := 0
	for _, v := range a.Votes {
		n += v
	}
	return fmt.Sprintf("votes equal (%d each)", n)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
