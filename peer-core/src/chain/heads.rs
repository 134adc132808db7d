//! The numbers of new blocks: told by whoever follows the chain, asked for where nobody does.

use std::{sync::Arc, time::Duration};

use deal_types::peer_chain::PeerChain;
use futures::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};

use crate::clock::Clock;

/// How often a chain is asked for its newest block when nobody tells of new ones.
const POLL: Duration = Duration::from_secs(5);
/// How often it is asked when somebody does, who may have lost the chain.
const RELAXED_POLL: Duration = Duration::from_secs(60);
/// Blocks that are made up for when numbers were missed; of more only the newest count.
const MAX_CAUGHT_UP: u64 = 256;
/// Numbers in a row that have to say that the chain is far shorter than was said before.
const BELIEVED: u32 = 8;

/// Every number above the first one that is heard of, once, in order: those that were passed over
/// as well, so that nothing that waits for one of them waits for ever. A chain that begins anew is
/// followed from where it is, and so is one whose node told a number that was none.
pub(crate) fn blocks(
    chain: Option<Arc<dyn PeerChain>>,
    told: Option<BoxStream<'static, u64>>,
    clock: Arc<dyn Clock>,
) -> impl Stream<Item = u64> + Send + 'static {
    let pause = match told {
        Some(_) => RELAXED_POLL,
        None => POLL,
    };
    let asked = stream::iter(chain).flat_map(move |chain| {
        stream::unfold(
            (chain, clock.clone(), false),
            move |(chain, clock, again)| async move {
                if again {
                    clock.sleep(pause).await;
                }
                let number = chain.block_number().await;
                Some((number, (chain, clock, true)))
            },
        )
    });
    let asked = asked.filter_map(|number| async move {
        number
            .inspect_err(|error| tracing::debug!(%error, "no new block"))
            .ok()
    });
    let told = told.unwrap_or_else(|| stream::empty().boxed());
    let mut seen = Seen::default();
    stream::select(told, Box::pin(asked)).flat_map(move |number| {
        let first = seen.first_new(number);
        stream::iter(first.into_iter().flat_map(move |first| first..=number))
    })
}

/// What was heard before.
#[derive(Default)]
struct Seen {
    last: Option<u64>,
    /// Numbers in a row that were far below it.
    below: u32,
}

impl Seen {
    /// The first number that is new with this one.
    fn first_new(&mut self, number: u64) -> Option<u64> {
        let Some(last) = self.last else {
            self.last = Some(number);
            return Some(number);
        };
        if number > last {
            (self.last, self.below) = (Some(number), 0);
            let skipped = number.saturating_sub(MAX_CAUGHT_UP);
            return Some(skipped.max(last) + 1);
        }
        // Known, or of a branch that was left, unless no branch is that much longer.
        let is_far = last - number > MAX_CAUGHT_UP;
        self.below = if is_far { self.below + 1 } else { 0 };
        if self.below < BELIEVED {
            return None;
        }
        (self.last, self.below) = (Some(number), 0);
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use futures::{FutureExt as _, channel::mpsc, executor::block_on};

    use super::*;
    use crate::chain::MemoryChain;

    /// A clock whose sleeps mine blocks, as many as they have seconds.
    struct Mining(Arc<MemoryChain>);

    #[async_trait]
    impl Clock for Mining {
        fn now_ms(&self) -> u64 {
            0
        }

        async fn sleep(&self, duration: Duration) {
            (0..duration.as_secs()).for_each(|_| {
                self.0.mine();
            });
        }
    }

    fn taken(stream: impl Stream<Item = u64>, count: usize) -> Vec<u64> {
        block_on(stream.take(count).collect())
    }

    #[test]
    fn who_asks_seldom_misses_nothing() {
        let chain = Arc::new(MemoryChain::default());
        chain.mine();
        let clock = Arc::new(Mining(chain.clone()));
        let numbers = taken(blocks(Some(chain), None, clock), 12);
        assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_told_is_not_asked_for() {
        let chain = Arc::new(MemoryChain::default());
        let heads = chain.heads().boxed();
        let clock = Arc::new(Mining(Arc::default()));
        let mut stream = Box::pin(blocks(None, Some(heads), clock));
        assert_eq!(stream.next().now_or_never(), None);
        for number in 1..=3 {
            chain.mine();
            assert_eq!(stream.next().now_or_never(), Some(Some(number)));
        }
    }

    #[test]
    fn numbers_come_once_and_in_order() {
        let (mut sender, told) = mpsc::channel(16);
        let clock = Arc::new(Mining(Arc::default()));
        let stream = blocks(None, Some(told.boxed()), clock);
        for number in [7, 7, 9, 8, 3, 10, 10_000] {
            sender.try_send(number).unwrap();
        }
        drop(sender);
        let numbers: Vec<u64> = block_on(stream.collect());
        let expected: Vec<u64> = (7..=10).chain(9_745..=10_000).collect();
        assert_eq!(numbers, expected);
    }

    #[test]
    fn a_number_that_was_none_is_forgotten() {
        let (mut sender, told) = mpsc::channel(32);
        let clock = Arc::new(Mining(Arc::default()));
        let stream = blocks(None, Some(told.boxed()), clock);
        // Of a node that lags only now and then nothing is believed, of one that insists all.
        let lagging = [7, u64::MAX, 8, 9, u64::MAX];
        let insisting = [9, 9, 10, 10, 11, 11, 12, 12, 13, 15];
        for number in lagging.into_iter().chain(insisting) {
            sender.try_send(number).unwrap();
        }
        drop(sender);
        let numbers: Vec<u64> = block_on(stream.collect());
        let lie = u64::MAX - 255..=u64::MAX;
        let expected: Vec<u64> = [7].into_iter().chain(lie).chain(12..=15).collect();
        assert_eq!(numbers, expected);
    }
}
