//! Memory that clients took goes back to the system when they have left.

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
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "this function of the C library has no safe form"
)]
fn trim() {
    // SAFETY: it takes no pointer and locks what it works on.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators see to it themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}
