package oracle

// S1, one writer. The world itself reports, after every event: two epochs that could
// both complete a write to one volume or LUN, a write of an old epoch after one of a
// newer, an acknowledged write that is gone, and two able holders of an address
// (which fence: storage allows until the old one's host is reached). The oracle adds
// nothing: it has no sight of the storage that the world has not.
