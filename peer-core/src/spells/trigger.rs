//! What a spell is triggered by.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest period: a hundred years.
pub const MAX_PERIOD_SEC: u32 = 3_153_600_000;

/// When a spell is started (§6.2 of the peer description, trigger configuration).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerConfig {
    /// By the clock.
    pub clock: ClockTrigger,
    /// By peers that come and go.
    pub connections: ConnectionTrigger,
    /// By blocks of the chain.
    pub blockchain: BlockchainTrigger,
}

/// Times in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockTrigger {
    /// The first time; 0 is never, the past is at once.
    pub start_sec: u32,
    /// From then on no more; 0 is no end.
    pub end_sec: u32,
    /// The pause between two times; 0 is once.
    pub period_sec: u32,
}

/// Connections of any peer, clients among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionTrigger {
    /// A connection was established.
    pub connect: bool,
    /// The last connection of a peer is gone.
    pub disconnect: bool,
}

/// Blocks by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockchainTrigger {
    /// The first block; 0 is none.
    pub start_block: u32,
    /// The last block; 0 is no end.
    pub end_block: u32,
}

/// Why a configuration cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TriggerError {
    /// A period of more than [`MAX_PERIOD_SEC`].
    #[error(
        "invalid config: period is too big. Max period is 100 years (or approx {MAX_PERIOD_SEC} \
         seconds)"
    )]
    Period,
    /// An end that is over.
    #[error("invalid config: end_sec is less than start_sec or in the past")]
    End,
}

impl TriggerConfig {
    /// At once, and then each `period_sec` seconds.
    #[must_use]
    pub fn periodic(period_sec: u32) -> Self {
        Self {
            clock: ClockTrigger {
                start_sec: 1,
                end_sec: 0,
                period_sec,
            },
            ..Self::default()
        }
    }

    /// Whether nothing triggers the spell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            clock,
            connections,
            blockchain,
        } = self;
        clock.start_sec == 0
            && !connections.connect
            && !connections.disconnect
            && blockchain.start_block == 0
    }

    /// Checks the configuration at a time, in seconds since the Unix epoch.
    ///
    /// # Errors
    /// A period that is too long, an end that is over.
    pub fn check(&self, now_sec: u64) -> Result<(), TriggerError> {
        let clock = &self.clock;
        if clock.start_sec == 0 {
            return Ok(());
        }
        if clock.period_sec > MAX_PERIOD_SEC {
            return Err(TriggerError::Period);
        }
        let is_over = clock.end_sec < clock.start_sec || u64::from(clock.end_sec) < now_sec;
        match clock.end_sec != 0 && is_over {
            true => Err(TriggerError::End),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000;

    fn check(start_sec: u32, end_sec: u32, period_sec: u32) -> Result<(), String> {
        let clock = ClockTrigger {
            start_sec,
            end_sec,
            period_sec,
        };
        let config = TriggerConfig {
            clock,
            ..TriggerConfig::default()
        };
        config.check(NOW).map_err(|error| error.to_string())
    }

    #[test]
    fn configurations() {
        let period = "invalid config: period is too big. Max period is 100 years (or approx \
                      3153600000 seconds)";
        let end = "invalid config: end_sec is less than start_sec or in the past";
        for (start, until, pause, expected) in [
            (1, 0, 60, Ok(())),
            (1, 0, MAX_PERIOD_SEC, Ok(())),
            (1, 0, MAX_PERIOD_SEC + 1, Err(period)),
            (1, 999, 60, Err(end)),
            (2_000, 1_500, 60, Err(end)),
            (2_000, 2_500, 0, Ok(())),
            (1, 1_000, 60, Ok(())),
            // Without a start nothing else counts.
            (0, 5, u32::MAX, Ok(())),
        ] {
            let expected = expected.map_err(str::to_owned);
            assert_eq!(
                check(start, until, pause),
                expected,
                "{start} {until} {pause}"
            );
        }
    }

    #[test]
    fn all_members_are_needed() {
        let text = serde_json::to_string(&TriggerConfig::periodic(5)).unwrap();
        assert_eq!(
            text,
            r#"{"clock":{"start_sec":1,"end_sec":0,"period_sec":5},"connections":{"connect":false,"disconnect":false},"blockchain":{"start_block":0,"end_block":0}}"#
        );
        assert!(serde_json::from_str::<TriggerConfig>(&text).is_ok());
        for part in [
            r#""end_sec":0,"#,
            r#","end_block":0"#,
            r#""connect":false,"#,
        ] {
            let less = text.replace(part, "");
            assert!(
                serde_json::from_str::<TriggerConfig>(&less).is_err(),
                "{part}"
            );
        }
    }

    #[test]
    fn empty_ones() {
        assert!(TriggerConfig::default().is_empty());
        assert!(!TriggerConfig::periodic(0).is_empty());
        let mut config = TriggerConfig::default();
        config.clock.period_sec = 5;
        assert!(config.is_empty());
        config.connections.disconnect = true;
        assert!(!config.is_empty());
    }
}
