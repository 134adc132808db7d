//! Memory that clients took goes back to the system when they have left.
//!
//! With the feature `jemalloc` its allocator sees to that, and takes less processor time than the one
//! of the C library: a quarter of what a peer does for a small particle is allocating.

use std::time::Duration;

use peer_core::network::Network;

/// How often it is looked at.
const PERIOD: Duration = Duration::from_secs(2);
/// So many connections fewer than there were are worth the work.
const WORTH: usize = 100;

/// Gives memory back each time that many clients have left; does not end.
pub(crate) async fn give_back(network: &Network) {
    let mut most = 0;
    loop {
        tokio::time::sleep(PERIOD).await;
        let connected = network.connected_peers().len();
        most = connected.max(most);
        if most - connected >= WORTH {
            most = connected;
            // Nobody waits for the outcome; on the way down it is done again.
            tokio::task::spawn_blocking(trim);
        }
    }
}

/// The C library keeps what was freed for later; this gives back what it can.
#[cfg(all(target_os = "linux", target_env = "gnu", not(feature = "jemalloc")))]
#[expect(
    unsafe_code,
    reason = "this function of the C library has no safe form"
)]
fn trim() {
    // SAFETY: it takes no pointer and locks what it works on.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators see to it themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu", not(feature = "jemalloc"))))]
fn trim() {}

#[cfg(all(target_os = "linux", target_env = "gnu", feature = "jemalloc"))]
mod jemalloc {
    use std::ffi::c_char;

    #[global_allocator]
    static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

    /// What was freed goes back within a second or two, by a thread that has nothing else to do.
    const OPTIONS: &std::ffi::CStr = c"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0";

    /// The name under which the allocator looks for its options.
    #[expect(unsafe_code, reason = "a symbol of this name is how they are given")]
    #[unsafe(export_name = "_rjem_malloc_conf")]
    static MALLOC_CONF: Option<&'static c_char> = Some(options());

    #[expect(unsafe_code, reason = "a reference to the first byte of the text")]
    const fn options() -> &'static c_char {
        // SAFETY: the text is there for ever and has at least its terminating byte.
        unsafe { &*OPTIONS.as_ptr() }
    }
}
