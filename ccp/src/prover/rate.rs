//! Rates over the last seconds, from a counter that is read now and then.

use std::{collections::VecDeque, time::Duration};

/// The longest time that is looked back.
const LONGEST: Duration = Duration::from_secs(900);
/// Readings that are kept: those of a second each, and some.
const READINGS: usize = 920;

/// Readings of a counter.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    /// Times since some beginning, with what the counter was.
    readings: VecDeque<(Duration, u64)>,
}

impl Windows {
    /// A reading, with the time since a beginning. More than one in a second replace each other.
    pub fn push(&mut self, now: Duration, count: u64) {
        if let [.., (before, _), (last, newest)] = self.readings.make_contiguous()
            && now.saturating_sub(*before) < Duration::from_secs(1)
        {
            (*last, *newest) = (now, count);
            return;
        }
        self.readings.push_back((now, count));
        while self.readings.len() > READINGS {
            self.readings.pop_front();
        }
    }

    /// Counts a second over the last `window`, at most 15 minutes; nothing before there are two
    /// readings in it.
    #[must_use]
    pub fn rate(&self, window: Duration) -> Option<f64> {
        let (now, count) = self.readings.back()?;
        let from = now.saturating_sub(window.min(LONGEST));
        let (then, before) = self.readings.iter().find(|(time, _)| *time >= from)?;
        let time = now.saturating_sub(*then);
        if time.is_zero() {
            return None;
        }
        Some(count.saturating_sub(*before) as f64 / time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_look_back_as_far_as_they_are_asked() {
        let mut windows = Windows::default();
        assert_eq!(windows.rate(LONGEST), None);
        let mut count = 0;
        for second in 0..=2000 {
            windows.push(Duration::from_secs(second), count);
            count += if second < 1990 { 10 } else { 100 };
        }
        assert_eq!(windows.rate(Duration::from_secs(10)), Some(100.0));
        assert_eq!(windows.rate(Duration::from_secs(60)), Some(25.0));
        assert_eq!(windows.rate(Duration::from_secs(900)), Some(11.0));
        assert_eq!(windows.readings.len(), READINGS);
    }

    #[test]
    fn frequent_readings_do_not_grow() {
        let mut windows = Windows::default();
        for tenth in 0..10_000 {
            windows.push(Duration::from_millis(100 * tenth), tenth);
        }
        assert!(windows.readings.len() <= READINGS);
        let rate = windows.rate(Duration::from_secs(60)).unwrap();
        assert!((rate - 10.0).abs() < 0.1, "{rate}");
    }
}
