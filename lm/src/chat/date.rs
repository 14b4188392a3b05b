//! The date, for chat templates that ask for it.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A day of the Gregorian calendar, written as in ISO 8601.
///
/// ```
/// use flowrl_lm::chat::Date;
/// let date: Date = "2024-07-26".parse()?;
/// assert_eq!(date.format("%A, %d %b %Y")?, "Friday, 26 Jul 2024");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: i64,
    /// Month of the year, from 1.
    month: usize,
    /// Day of the month, from 1.
    day: i64,
}

impl Date {
    /// Returns the day, in UTC, of the first call: a program that runs past midnight keeps its date.
    pub fn today() -> Self {
        static TODAY: OnceLock<Date> = OnceLock::new();
        *TODAY.get_or_init(|| {
            let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            Self::from_days((seconds / 86_400) as i64)
        })
    }

    /// Returns the date this many days after 1970-01-01.
    pub fn from_days(days: i64) -> Self {
        let mut date = Self { year: 1970 + days / 366, month: 1, day: 1 };
        while (Self { year: date.year + 1, ..date }).days() <= days {
            date.year += 1;
        }
        let mut day = days - date.days();
        while day >= date.month_length() {
            day -= date.month_length();
            date.month += 1;
        }
        Self { day: day + 1, ..date }
    }

    /// Returns the number of days since 1970-01-01.
    fn days(self) -> i64 {
        // Leap days before a year, counted from year 0.
        let leap_days =
            |year: i64| (year + 3).div_euclid(4) - (year + 99).div_euclid(100) + (year + 399).div_euclid(400);
        365 * (self.year - 1970) + leap_days(self.year) - leap_days(1970) + self.ordinal() - 1
    }

    /// Returns the day of the year of this date, from 1.
    fn ordinal(self) -> i64 {
        (1..self.month).map(|month| Self { month, ..self }.month_length()).sum::<i64>() + self.day
    }

    fn month_length(self) -> i64 {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        match self.month {
            2 => 28 + i64::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// Formats this date as Python's `datetime.strftime` does in the C locale, at midnight.
    ///
    /// # Errors
    /// Returns a message that names an unknown code.
    pub fn format(self, format: &str) -> Result<String, String> {
        let (year, month, day) = (self.year, self.month, self.day);
        // 1970-01-01 was a Thursday.
        let weekday = (self.days() + 4).rem_euclid(7) as usize;
        let mut text = String::new();
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            text += &rest[..at];
            // `%-d` is the number without leading zeros.
            let code = &rest[at + 1..];
            let plain = code.starts_with('-');
            let code = code.strip_prefix('-').unwrap_or(code);
            let Some(letter) = code.chars().next() else { return Err("`%` without a code after it".into()) };
            let number = |value: i64, width: usize| if plain { value.to_string() } else { format!("{value:0width$}") };
            text += &match letter {
                'Y' => year.to_string(),
                'y' => number(year % 100, 2),
                'm' => number(month as i64, 2),
                'd' => number(day, 2),
                'e' => format!("{day:2}"),
                'j' => number(self.ordinal(), 3),
                'B' => MONTHS[month - 1].to_owned(),
                'b' | 'h' => MONTHS[month - 1][..3].to_owned(),
                'A' => WEEKDAYS[weekday].to_owned(),
                'a' => WEEKDAYS[weekday][..3].to_owned(),
                'w' => weekday.to_string(),
                'u' => (if weekday == 0 { 7 } else { weekday }).to_string(),
                'F' => self.to_string(),
                'D' | 'x' => format!("{month:02}/{day:02}/{:02}", year % 100),
                'H' | 'M' | 'S' => number(0, 2),
                'I' => number(12, 2),
                'p' => "AM".to_owned(),
                'f' => "000000".to_owned(),
                'T' | 'X' => "00:00:00".to_owned(),
                'R' => "00:00".to_owned(),
                'z' | 'Z' => String::new(),
                '%' => "%".to_owned(),
                other => return Err(format!("unknown date code `%{other}`")),
            };
            rest = &code[letter.len_utf8()..];
        }
        Ok(text + rest)
    }
}

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a date such as 2024-07-26");
        let fields: Vec<&str> = text.split('-').collect();
        let [year, month, day] = fields[..] else { return Err(wrong()) };
        let number = |text: &str, width: usize| {
            let digits = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<i64>().ok()).flatten().ok_or_else(wrong)
        };
        let date = Self { year: number(year, 4)?, month: number(month, 2)? as usize, day: number(day, 2)? };
        let is_day = (1..=12).contains(&date.month) && (1..=date.month_length()).contains(&date.day);
        if is_day { Ok(date) } else { Err(wrong()) }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_belong_together() {
        for (days, text, weekday) in [
            (0, "1970-01-01", "Thursday"),
            (364, "1970-12-31", "Thursday"),
            (365, "1971-01-01", "Friday"),
            (10_956, "1999-12-31", "Friday"),
            (11_016, "2000-02-29", "Tuesday"),
            (19_930, "2024-07-26", "Friday"),
            (20_787, "2026-11-30", "Monday"),
            (47_540, "2100-02-28", "Sunday"),
            (47_541, "2100-03-01", "Monday"),
        ] {
            let date = Date::from_days(days);
            assert_eq!((date.to_string(), date.format("%A").unwrap()), (text.to_owned(), weekday.to_owned()));
            assert_eq!((text.parse(), date.days()), (Ok(date), days));
        }
        assert!(Date::today() > "2025-01-01".parse().unwrap());
    }

    #[test]
    fn formats_are_those_of_python() {
        let date: Date = "2024-03-05".parse().unwrap();
        for (format, wanted) in [
            ("%d %b %Y", "05 Mar 2024"),
            ("%B %d, %Y", "March 05, 2024"),
            ("%A %a %w %u", "Tuesday Tue 2 2"),
            ("%-d/%-m/%y %j %e", "5/3/24 065  5"),
            ("%F %D %T %R %I %p%%", "2024-03-05 03/05/24 00:00:00 00:00 12 AM%"),
            ("kein Code", "kein Code"),
        ] {
            assert_eq!(date.format(format).unwrap(), wanted, "{format}");
        }
        assert!(date.format("%Q").unwrap_err().contains("%Q"));
        assert!(date.format("100%").unwrap_err().contains("without a code"));
    }

    #[test]
    fn only_days_of_the_calendar_are_dates() {
        for text in
            "2024-02-30 2023-02-29 2024-13-01 2024-00-01 2024-1-1 24-01-01 +024-01-01 x 2024-01-01-01".split(' ')
        {
            assert!(text.parse::<Date>().unwrap_err().contains(text), "{text}");
        }
        assert!("2024-02-29".parse::<Date>().is_ok());
    }
}
