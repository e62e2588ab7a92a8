//! Points in time as JavaScript's `toISOString` writes them.

/// The farthest a JavaScript date reaches from 1970, in milliseconds (ECMA-262, 21.4.1.1).
const MAX_TIME_MS: i128 = 8_640_000_000_000_000;

/// ISO 8601 in UTC, always with three digits of milliseconds; `None` beyond what a JavaScript date can be.
pub(super) fn iso_string(seconds: i64, nanos: u32) -> Option<String> {
    let total_ms = i128::from(seconds) * 1_000 + i128::from(nanos / 1_000_000);
    if total_ms.abs() > MAX_TIME_MS {
        return None;
    }
    // Within the limit just checked everything fits.
    let total_ms = total_ms as i64;
    let (days, ms_of_day) = (
        total_ms.div_euclid(86_400_000),
        total_ms.rem_euclid(86_400_000),
    );
    let (year, month, day) = civil_from_days(days);
    let (hour, minute) = (ms_of_day / 3_600_000, ms_of_day / 60_000 % 60);
    let (second, ms) = (ms_of_day / 1_000 % 60, ms_of_day % 1_000);
    let year = match year {
        0..=9_999 => format!("{year:04}"),
        _ => format!("{year:+07}"),
    };
    Some(format!(
        "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
    ))
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar: years are counted from March, so
/// that the leap day is the last of its year, in eras of 400 years, which all have the same length.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    const DAYS_FROM_YEAR_0_MARCH_TO_1970: i64 = 719_468;
    let days = days + DAYS_FROM_YEAR_0_MARCH_TO_1970;
    let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_as_in_javascript() {
        let check = |seconds: i64, nanos: u32, expected: Option<&str>| {
            assert_eq!(
                iso_string(seconds, nanos).as_deref(),
                expected,
                "{seconds} {nanos}"
            );
        };
        check(0, 0, Some("1970-01-01T00:00:00.000Z"));
        check(1_704_164_645, 678_000_000, Some("2024-01-02T03:04:05.678Z"));
        check(951_782_400, 0, Some("2000-02-29T00:00:00.000Z"));
        check(-1, 500_000_000, Some("1969-12-31T23:59:59.500Z"));
        check(-62_167_219_200, 0, Some("0000-01-01T00:00:00.000Z"));
        check(-62_167_219_201, 0, Some("-000001-12-31T23:59:59.000Z"));
        check(253_402_300_800, 0, Some("+010000-01-01T00:00:00.000Z"));
        check(8_640_000_000_000, 0, Some("+275760-09-13T00:00:00.000Z"));
        check(8_640_000_000_000, 1_000_000, None);
        check(i64::MIN, u32::MAX, None);
        check(i64::MAX, u32::MAX, None);
    }
}
