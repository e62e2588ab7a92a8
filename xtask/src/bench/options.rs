//! The options of `cargo xtask bench`.

use std::path::PathBuf;

use super::measurement::Measurement;
use crate::Usage;

/// Three make a median; one more round takes about three minutes.
const ROUNDS: usize = 3;

#[derive(Debug, PartialEq)]
pub(super) struct Options {
    pub(super) is_quick: bool,
    pub(super) rounds: usize,
    pub(super) json: Option<PathBuf>,
    only: Vec<Measurement>,
}

impl Options {
    pub(super) fn parse(arguments: &[String]) -> Result<Options, Usage> {
        let mut options = Options {
            is_quick: false,
            rounds: ROUNDS,
            json: None,
            only: Vec::new(),
        };
        let mut rounds = None;
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .ok_or_else(|| Usage(format!("{word} needs a value")))
            };
            match word.as_str() {
                "--quick" => options.is_quick = true,
                "--json" => options.json = Some(value()?.into()),
                "--rounds" => {
                    let count = value()?.parse().ok().filter(|count| *count > 0);
                    rounds = Some(
                        count.ok_or_else(|| Usage("--rounds needs a number from 1".to_owned()))?,
                    );
                }
                "--only" => {
                    let name = value()?;
                    let found = Measurement::ALL
                        .into_iter()
                        .find(|measurement| measurement.to_string() == *name);
                    options.only.push(
                        found.ok_or_else(|| Usage(format!("there is no measurement {name}")))?,
                    );
                }
                _ => return Err(Usage(format!("bench does not know {word}"))),
            }
        }
        options.rounds = rounds.unwrap_or(if options.is_quick { 1 } else { ROUNDS });
        Ok(options)
    }

    /// Is this one asked for?
    pub(super) fn wants(&self, measurement: Measurement) -> bool {
        self.only.is_empty() || self.only.contains(&measurement)
    }

    /// Those that are, in order.
    pub(super) fn measurements(&self) -> impl Iterator<Item = Measurement> + '_ {
        Measurement::ALL
            .into_iter()
            .filter(|measurement| self.wants(*measurement))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &str, expected: Result<(bool, usize, usize), &str>) {
        let arguments: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let got = Options::parse(&arguments)
            .map(|options| {
                (
                    options.is_quick,
                    options.rounds,
                    options.measurements().count(),
                )
            })
            .map_err(|Usage(text)| text);
        assert_eq!(got, expected.map_err(str::to_owned), "{words}");
    }

    #[test]
    fn takes_its_options() {
        check("", Ok((false, 3, 5)));
        check("--quick", Ok((true, 1, 5)));
        check(
            "--quick --rounds 2 --only cross --only idle --json x",
            Ok((true, 2, 2)),
        );
        check("--rounds 0", Err("--rounds needs a number from 1"));
        check("--only", Err("--only needs a value"));
        check("--only x", Err("there is no measurement x"));
        check("--slow", Err("bench does not know --slow"));
    }
}
