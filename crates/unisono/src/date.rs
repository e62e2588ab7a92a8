//! Points in time as text.

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A second since 1970, taken apart.
struct Moment {
    weekday: &'static str,
    year: u64,
    month: &'static str,
    day: u64,
    /// `19:09:07`.
    clock: String,
}

impl Moment {
    fn of(seconds: u64) -> Self {
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute) = (second / 3_600, second / 60 % 60);
        Self {
            weekday: DAYS[(days % 7) as usize],
            year,
            month: MONTHS[month],
            day,
            clock: format!("{hour:02}:{minute:02}:{:02}", second % 60),
        }
    }
}

/// As JavaScript's `Date` writes it by default: `Sun Nov 22 2026 19:09:07 GMT+0000 (Coordinated Universal Time)`, of milliseconds since 1970.
pub(crate) fn date_text(ms: u64) -> String {
    let at = Moment::of(ms / 1_000);
    format!(
        "{} {} {:02} {} {} GMT+0000 (Coordinated Universal Time)",
        at.weekday, at.month, at.day, at.year, at.clock
    )
}

/// As HTTP's `Date` has it (RFC 9110, section 5.6.7): `Sun, 22 Nov 2026 19:09:07 GMT`, of seconds since 1970.
pub(crate) fn http_date(seconds: u64) -> String {
    let at = Moment::of(seconds);
    format!(
        "{}, {:02} {} {} {} GMT",
        at.weekday, at.day, at.month, at.year, at.clock
    )
}

/// Year, month (from 0) and day of the month of a day since 1970, in the Gregorian calendar: whole cycles of 400 years first, then years
/// that begin in March, so that a leap day is the last of its year.
fn civil(days: u64) -> (u64, usize, u64) {
    /// From 1 March of the year 0 to 1 January 1970.
    const TO_EPOCH: u64 = 719_468;
    const CYCLE: u64 = 146_097;
    let days = days + TO_EPOCH;
    let (cycle, day) = (days / CYCLE, days % CYCLE);
    let year = (day - day / 1_460 + day / 36_524 - day / (CYCLE - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let is_next_year = month >= 10;
    let month = (month as usize + 2) % 12;
    (cycle * 400 + year + u64::from(is_next_year), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_javascript_does() {
        let check = |ms: u64, expected: &str| {
            let expected = format!("{expected} GMT+0000 (Coordinated Universal Time)");
            assert_eq!(date_text(ms), expected);
        };
        check(0, "Thu Jan 01 1970 00:00:00");
        check(1_795_730_383_393, "Thu Nov 26 2026 21:59:43");
        check(951_782_400_000, "Tue Feb 29 2000 00:00:00");
        check(951_868_799_999, "Tue Feb 29 2000 23:59:59");
        check(951_868_800_000, "Wed Mar 01 2000 00:00:00");
        check(4_107_542_399_000, "Sun Feb 28 2100 23:59:59");
        check(4_107_542_400_000, "Mon Mar 01 2100 00:00:00");
        check(1_704_067_199_000, "Sun Dec 31 2023 23:59:59");
    }

    #[test]
    fn dates_are_written_as_http_does() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(1_795_730_383), "Thu, 26 Nov 2026 21:59:43 GMT");
    }
}
