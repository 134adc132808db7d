//! The time of a build.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, or the moment that `SOURCE_DATE_EPOCH` names, as RFC 3339 text in UTC.
pub(crate) fn now() -> String {
    let pinned = std::env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|text| text.trim().parse().ok());
    match pinned {
        Some(seconds) => rfc3339(seconds, 0),
        None => {
            let since = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            rfc3339(since.as_secs(), since.subsec_nanos())
        }
    }
}

fn rfc3339(seconds: u64, nanoseconds: u32) -> String {
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}+00:00"
    )
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
fn civil_date(day_number: u64) -> (u64, u64, u64) {
    let mut rest = day_number;
    let mut year = 1970;
    // 400 years have a fixed number of days; what is left takes at most 400 steps.
    year += rest / 146_097 * 400;
    rest %= 146_097;
    loop {
        let days = if is_leap(year) { 366 } else { 365 };
        if rest < days {
            break;
        }
        rest -= days;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if rest < days {
            break;
        }
        rest -= days;
        month += 1;
    }
    (year, month, rest + 1)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        assert_eq!(rfc3339(0, 0), "1970-01-01T00:00:00.000000000+00:00");
        assert_eq!(
            rfc3339(951_782_400, 0),
            "2000-02-29T00:00:00.000000000+00:00"
        );
        assert_eq!(
            rfc3339(1_693_921_413, 574_389_268),
            "2023-09-05T13:43:33.574389268+00:00"
        );
        assert_eq!(
            rfc3339(4_102_444_799, 1),
            "2099-12-31T23:59:59.000000001+00:00"
        );
    }
}
