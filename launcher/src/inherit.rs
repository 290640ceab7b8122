//! What ranks find around them: variables and a directory, on this host and on others.
//!
//! Here they inherit the launcher's whole environment through the daemon. Elsewhere they have the one that
//! the daemon was given there, and on top of it what steers this library and what tells its troubles.

use std::ffi::OsString;
use std::path::Path;

use crate::job::{RANK_VARIABLES, Refusal};
use crate::nodes::Host;

/// Variables that begin so go to other hosts.
const PREFIXES: [&str; 2] = ["PHALANX_", "RUST_"];

/// A variable whose name has one of these in it stays here: others may read a process's environment.
const SECRETS: [&str; 4] = ["SECRET", "TOKEN", "PASSWORD", "KEY"];

/// Refuses variables that the daemon sets.
pub(crate) fn check(asked: &[(String, String)]) -> Result<(), Refusal> {
    let own = |(name, _): &&(String, String)| RANK_VARIABLES.contains(&name.as_str());
    match asked.iter().find(own) {
        Some((name, _)) => Err(Refusal::usage(format!(
            "--env {name}: the launcher sets this variable itself; leave it out"
        ))),
        None => Ok(()),
    }
}

/// The variables of ours that ranks of another host get.
pub(crate) fn carried(
    ours: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<(String, String)> {
    let goes = |name: &str| {
        PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            && !SECRETS.iter().any(|secret| name.contains(secret))
            && !RANK_VARIABLES.contains(&name)
    };
    let texts = ours
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut carried: Vec<(String, String)> = texts.filter(|(name, _)| goes(name)).collect();
    carried.sort();
    carried
}

/// The variables that are set for the ranks of a host; the last of a name counts. What was asked for on
/// the command line comes before what the host's line says, and that before what we inherited ourselves.
pub(crate) fn environment(
    host: &Host,
    carried: &[(String, String)],
    asked: &[(String, String)],
) -> Vec<(String, String)> {
    let carried = carried.iter().filter(|_| !host.here).cloned();
    let interface = host.interface.iter().cloned();
    let interface = interface.map(|name| ("PHALANX_INTERFACE".to_owned(), name));
    carried
        .chain(interface)
        .chain(asked.iter().cloned())
        .collect()
}

/// The working directory of the ranks. One that was asked for must exist: here we look, if ranks run here;
/// daemons look elsewhere.
pub(crate) fn directory(
    wanted: Option<&Path>,
    here: Option<&Path>,
    used_here: bool,
) -> Result<Option<String>, Refusal> {
    let Some(wanted) = wanted else {
        return Ok(here.and_then(Path::to_str).map(str::to_owned));
    };
    let path = here.map_or_else(|| wanted.to_owned(), |here| here.join(wanted));
    let wrong = match std::fs::metadata(&path) {
        Ok(found) if found.is_dir() => None,
        _ if !used_here => None,
        Ok(_) => Some("this is not a directory".to_owned()),
        Err(error) => Some(error.to_string()),
    };
    let text = path.to_str().map(str::to_owned);
    match (wrong, text) {
        (None, Some(path)) => Ok(Some(path)),
        (wrong, _) => Err(Refusal::launch(format!(
            "--wdir {}: {}",
            wanted.display(),
            wrong.as_deref().unwrap_or("the name is not UTF-8")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(words: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        words.iter().map(owned).collect()
    }

    #[test]
    fn what_steers_the_library_goes_along_and_secrets_stay() {
        let ours = [
            ("RUST_LOG", "debug"),
            ("PHALANX_TIMEOUT", "5"),
            ("PATH", "/bin"),
            ("PHALANX_RANK", "3"),
            ("PHALANX_SECRET_FILE", "/s"),
            ("PHALANX_API_TOKEN", "t"),
            ("RUSTUP_HOME", "/r"),
        ];
        let ours = ours.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        assert_eq!(
            carried(ours),
            pairs(&[("PHALANX_TIMEOUT", "5"), ("RUST_LOG", "debug")])
        );
    }

    #[test]
    fn the_command_line_comes_before_the_hostfile_and_that_before_our_environment() {
        let interface = |value| ("PHALANX_INTERFACE", value);
        let carried = pairs(&[interface("ours"), ("RUST_LOG", "debug")]);
        let mut host = Host::new("other", 1);
        host.interface = Some("eth1".to_owned());
        let found = environment(&host, &carried, &pairs(&[interface("typed")]));
        let all = [
            interface("ours"),
            ("RUST_LOG", "debug"),
            interface("eth1"),
            interface("typed"),
        ];
        assert_eq!(found, pairs(&all));
        host.here = true;
        assert_eq!(environment(&host, &carried, &[]), pairs(&all[2..3]));
    }

    #[test]
    fn a_directory_that_only_others_use_need_not_be_here() {
        let wanted = Path::new("/no/such/place");
        let found = directory(Some(wanted), None, false).expect("not looked at");
        assert_eq!(found.as_deref(), Some("/no/such/place"));
        let refusal = directory(Some(wanted), None, true).expect_err("missing");
        assert!(refusal.message.starts_with("--wdir /no/such/place: "));
        let file = std::env::current_exe().expect("a path");
        let refusal = directory(Some(&file), None, true).expect_err("a file");
        assert!(refusal.message.contains("not a directory"));
    }
}
