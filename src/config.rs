//! The environment as one immutable [`Config`]. Nothing else in the library reads variables, except
//! the bootstrap, which reads what the launcher set.

use std::time::Duration;

/// What a user may set, each by a variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `PHALANX_SPIN_MICROS`: how long a waiting rank polls before it lets others run; microseconds.
    /// Default: 100 while no more ranks of the host are awake than there are cores, else 0.
    pub spin: Option<Duration>,
    /// `PHALANX_YIELDS`: how often a waiting rank offers its core to others before it sleeps.
    /// Default: 2 while no more ranks of the host are awake than there are cores, else 100.
    pub yields: Option<u32>,
    /// `PHALANX_SINGLE_COPY`: whether long messages between processes of one host are copied straight from
    /// the sender's memory; 0 or 1. Where the kernel does not allow it, they are copied twice, as with 0.
    /// Default: while the sender does not wait for them to be received, and with more than 16 ranks on the
    /// host, whose rings are too small for streaming to be faster.
    pub single_copy: Option<bool>,
    /// `PHALANX_TIMEOUT`: limit for every blocking operation of the world communicator and of those
    /// derived from it; seconds, may be fractional. Default: none.
    pub timeout: Option<Duration>,
    /// `PHALANX_ALGORITHMS`: algorithms to use for collectives, `allreduce=ring,bcast=binomial`.
    /// Default: none are forced.
    pub algorithms: String,
    /// `PHALANX_THREADS`: run this many ranks as threads of one process when there is no launcher.
    /// Default: 1.
    pub threads: Option<usize>,
    /// `PHALANX_INTERFACE`: at which interfaces or networks a rank listens when its job spans hosts,
    /// `eth0` or `10.1.0.0/16`, several with commas. Default: at all that another host may reach.
    pub interface: Option<String>,
    /// `PHALANX_PORTS`: TCP ports that a rank may listen at, `LOW-HIGH`. Each rank takes one for each of
    /// its addresses. Default: whichever the operating system chooses.
    pub ports: Option<(u16, u16)>,
    /// `PHALANX_ENCRYPT`: whether what goes through TCP is encrypted; 0 or 1, the same for all ranks. Default: 0.
    pub encrypt: bool,
    /// `PHALANX_CHECK`: strict mode; 0 or 1. Every send waits for its receiver, so that a program which
    /// only works because messages are buffered is found out, and receives from any source that could
    /// have taken messages of several ranks are named. Default: 0.
    pub check: bool,
    /// `PHALANX_RECONNECT`: how long to try to make a TCP connection between two ranks again that has broken,
    /// without a sign of life from the other one's host; seconds, may be fractional. 0: a break ends the job. All
    /// ranks must be given the same. Default: 30.
    pub reconnect: Option<Duration>,
    /// `PHALANX_FAULT_RESET_MILLIS`: reset all TCP connections of this rank so often, for tests of what
    /// happens then. Default: never.
    #[doc(hidden)]
    pub reset_every: Option<Duration>,
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    ///
    /// One line that names the variable, its value and what it should be.
    pub fn from_environment() -> Result<Self, String> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads variables through a function.
    ///
    /// # Errors
    ///
    /// As for [`from_environment`](Self::from_environment).
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let number = |name: &str| -> Result<Option<u64>, String> {
            let Some(text) = lookup(name) else {
                return Ok(None);
            };
            let parsed = text.trim().parse();
            parsed
                .map(Some)
                .map_err(|_| format!("{name}={text} is not a whole number"))
        };
        let switch = |name: &str| match number(name)? {
            None => Ok(None),
            Some(0) => Ok(Some(false)),
            Some(1) => Ok(Some(true)),
            Some(other) => Err(format!("{name}={other} is neither 0 nor 1")),
        };
        let seconds = |name: &str| -> Result<Option<Duration>, String> {
            let Some(text) = lookup(name) else {
                return Ok(None);
            };
            let seconds: Option<f64> = text.trim().parse().ok();
            let limit = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
            limit
                .map(Some)
                .ok_or_else(|| format!("{name}={text} is not a number of seconds"))
        };
        let threads = match number("PHALANX_THREADS")? {
            Some(0) => return Err("PHALANX_THREADS=0: there must be at least one rank".into()),
            other => other.and_then(|n| usize::try_from(n).ok()),
        };
        Ok(Self {
            spin: number("PHALANX_SPIN_MICROS")?.map(Duration::from_micros),
            yields: number("PHALANX_YIELDS")?.map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
            single_copy: switch("PHALANX_SINGLE_COPY")?,
            check: switch("PHALANX_CHECK")?.unwrap_or(false),
            encrypt: switch("PHALANX_ENCRYPT")?.unwrap_or(false),
            timeout: seconds("PHALANX_TIMEOUT")?,
            reconnect: seconds("PHALANX_RECONNECT")?,
            reset_every: number("PHALANX_FAULT_RESET_MILLIS")?
                .filter(|millis| *millis > 0)
                .map(Duration::from_millis),
            algorithms: lookup("PHALANX_ALGORITHMS").unwrap_or_default(),
            threads,
            interface: lookup("PHALANX_INTERFACE").filter(|text| !text.trim().is_empty()),
            ports: match lookup("PHALANX_PORTS") {
                None => None,
                Some(text) => {
                    Some(ports(&text).map_err(|error| format!("PHALANX_PORTS={text}: {error}"))?)
                }
            },
        })
    }
}

/// Reads a range of ports, `LOW-HIGH`.
///
/// # Errors
///
/// What it should look like.
pub fn ports(text: &str) -> Result<(u16, u16), String> {
    let number = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (number(low), number(high)) {
        (Some(low), Some(high)) if low <= high => Ok((low, high)),
        _ => Err("write two ports from 1 to 65535, as in 20000-20999".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_has_its_default_and_nonsense_is_named() {
        let config = Config::from_lookup(|_| None).expect("empty");
        assert_eq!(
            (config.timeout, config.threads, config.spin),
            (None, None, None)
        );
        let set = |name: &'static str, value: &'static str| {
            Config::from_lookup(move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert_eq!(
            set("PHALANX_TIMEOUT", "1.5").expect("a number").timeout,
            Some(Duration::from_millis(1500))
        );
        for (name, value) in [
            ("PHALANX_TIMEOUT", "-1"),
            ("PHALANX_RECONNECT", "soon"),
            ("PHALANX_THREADS", "0"),
            ("PHALANX_YIELDS", "many"),
            ("PHALANX_CHECK", "yes"),
            ("PHALANX_ENCRYPT", "2"),
            ("PHALANX_PORTS", "9-8"),
            ("PHALANX_PORTS", "0-8"),
        ] {
            let error = set(name, value).expect_err("nonsense");
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }
}
