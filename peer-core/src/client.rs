//! A client: a peer behind a relay that starts scripts and answers their callbacks.
