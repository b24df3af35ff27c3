// Package store keeps the records of a device in a directory, on badger. Its
// [Store] is what node.Store asks for: atomic, durable batches, ordered loads.
//
// # The directory
//
//	lock      held with flock while the store is open; the holder's process id
//	root      two slots: the root key and the next one (file root.go), 0600
//	seal-ID   what a passphrase opens to unseal the root key (file sealing.go)
//	mark      number of the last acknowledged batch, see below
//	reserve   space to give up when the disk runs full
//	lost      tables that badger wrote and deleted when its disk failed (mend.go)
//	db/       badger
//
// All files are 0600, all directories 0700. Badger creates files with the
// modes of the umask, which belongs to the whole process; so db is closed to
// others from the first moment and the files in it are tightened after each
// batch that made one.
//
// # What a batch is
//
// One batch is one badger transaction, synced before Commit returns. Badger
// bounds a transaction to a part of its memtable, so a larger batch first goes
// into a journal, piece by piece; one small transaction then seals the journal,
// and only now the batch counts. It is then carried out and the journal
// dropped. Whatever interrupts this, the next Open (or the next call, if it was
// an error) drops an unsealed journal and carries a sealed one out again, which
// is idempotent. No reader sees a part of it. A batch may be as large as a third
// of the free disk above the watermark; it is held in memory twice. After a
// failed write the store refuses everything ([ErrBroken]) until it is opened
// again, because nobody knows which bytes reached the disk.
//
// Every batch has a number. It is in the batch, and it is noted in the file
// mark after the batch is synced. Badger drops what follows a damaged place in
// its log without a word; a number below the noted one tells [ErrCorrupt] apart
// from a batch that a crash cut off before it was acknowledged. Tables are
// verified before badger opens them, because badger leaves a damaged table out
// and goes on.
//
// # Encryption and erasure
//
// The value of a Secret or History record is encrypted with
// XChaCha20-Poly1305, a random nonce and a key of its own; record key, class
// and the key's id are authenticated. Public values and all record keys are
// plaintext, with badger's checksums. The value log, which would keep values
// longest, stays empty: values of more than 256 KiB are cut.
//
// Keys of records that were written under the present root key are derived from
// it. All older ones are in the erasure tree (file treenode.go), which opens
// with the root key. To erase, the store passes on to another root key (file
// erase.go): it takes along what shall stay readable, wraps the paths of erased
// keys anew, and overwrites the former root key. Erasures gather for
// [Options].EraseInterval and then cost one passage together; they are
// not listed on the disk, so after a crash Open finds them by looking for keys
// without a record. What was copied from the files before stays shut, unless
// somebody copied the root file at that time. Sealing (file sealing.go) protects
// the root file.
//
// # What is not noticed
//
// A damaged block in a table beyond [Options].VerifyBytes may make Load skip
// records, because badger's iterators do not report it. A manifest that was cut
// exactly between two changes looks like one that a crash left. And when
// badger's own goroutines meet a fault or a broken invariant, the process ends;
// every acknowledged batch is there at the next Open.
package store
