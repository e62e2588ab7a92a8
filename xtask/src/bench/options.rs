//! The options of `cargo xtask bench`.

use std::path::PathBuf;

use super::measurement::Measurement;
use super::server::Server;
use super::studies::Study;
use crate::Usage;

/// Three make a median; one more round takes about three minutes.
const ROUNDS: usize = 3;
/// How long the churn goes on.
const MINUTES: f64 = 10.0;

#[derive(Debug, PartialEq)]
pub(super) struct Options {
    pub(super) is_quick: bool,
    pub(super) rounds: usize,
    pub(super) minutes: f64,
    pub(super) json: Option<PathBuf>,
    /// Studies asked for.
    pub(super) studies: Vec<Study>,
    /// Measurements asked for; all, if nothing is.
    only: Vec<Measurement>,
    /// Servers asked for; all, if none is.
    servers: Vec<Server>,
}

impl Options {
    pub(super) fn parse(arguments: &[String]) -> Result<Options, Usage> {
        let mut options = Options {
            is_quick: false,
            rounds: ROUNDS,
            minutes: MINUTES,
            json: None,
            studies: Vec::new(),
            only: Vec::new(),
            servers: Vec::new(),
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
                "--minutes" => {
                    let minutes = value()?.parse().ok().filter(|minutes| *minutes > 0.0);
                    options.minutes = minutes.ok_or_else(|| {
                        Usage("--minutes needs a number greater than 0".to_owned())
                    })?;
                }
                "--only" => options.ask_for(value()?)?,
                "--server" => {
                    let name = value()?;
                    let found = named(Server::ALL, name);
                    options
                        .servers
                        .push(found.ok_or_else(|| Usage(format!("there is no server {name}")))?);
                }
                _ => return Err(Usage(format!("bench does not know {word}"))),
            }
        }
        options.rounds = rounds.unwrap_or(if options.is_quick { 1 } else { ROUNDS });
        Ok(options)
    }

    fn ask_for(&mut self, name: &str) -> Result<(), Usage> {
        match (named(Measurement::ALL, name), named(Study::ALL, name)) {
            (Some(measurement), _) => self.only.push(measurement),
            (None, Some(study)) => self.studies.push(study),
            (None, None) => return Err(Usage(format!("there is no measurement {name}"))),
        }
        Ok(())
    }

    /// Is this one asked for?
    pub(super) fn wants(&self, measurement: Measurement) -> bool {
        let nothing = self.only.is_empty() && self.studies.is_empty();
        nothing || self.only.contains(&measurement)
    }

    /// Is this one asked for?
    pub(super) fn wants_server(&self, server: Server) -> bool {
        self.servers.is_empty() || self.servers.contains(&server)
    }

    /// Those that are, in order.
    pub(super) fn measurements(&self) -> impl Iterator<Item = Measurement> + '_ {
        Measurement::ALL
            .into_iter()
            .filter(|measurement| self.wants(*measurement))
    }
}

/// The one whose text this is.
fn named<T: std::fmt::Display>(all: impl IntoIterator<Item = T>, name: &str) -> Option<T> {
    all.into_iter()
        .find(|one| one.to_string().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &str, expected: Result<(bool, usize, usize, usize), &str>) {
        let arguments: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let got = Options::parse(&arguments)
            .map(|options| {
                (
                    options.is_quick,
                    options.rounds,
                    options.measurements().count(),
                    options.studies.len(),
                )
            })
            .map_err(|Usage(text)| text);
        assert_eq!(got, expected.map_err(str::to_owned), "{words}");
    }

    #[test]
    fn takes_its_options() {
        check("", Ok((false, 3, 6, 0)));
        check("--quick", Ok((true, 1, 6, 0)));
        check(
            "--quick --rounds 2 --only cross --only idle --json x",
            Ok((true, 2, 2, 0)),
        );
        check("--only churn --minutes 0.5", Ok((false, 3, 0, 1)));
        check(
            "--only heap --only idle --server Node",
            Ok((false, 3, 1, 1)),
        );
        check(
            "--minutes -1",
            Err("--minutes needs a number greater than 0"),
        );
        check("--server x", Err("there is no server x"));
        check("--rounds 0", Err("--rounds needs a number from 1"));
        check("--only", Err("--only needs a value"));
        check("--only x", Err("there is no measurement x"));
        check("--slow", Err("bench does not know --slow"));
    }
}
