//! What a failed start means, from what ssh and the like have said. Pure.

/// Longest quotation of somebody else's words.
const QUOTED_CHARS_MAX: usize = 300;

/// Words of ssh and of shells, what they mean, and what can be done. `HOST` is the host.
const KNOWN: &[(&str, &str, &str)] = &[
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the one that is known",
        "if the host was really set up anew, remove the old key with `ssh-keygen -R HOST` and \
         connect once with `ssh HOST`",
    ),
    (
        "Host key verification failed",
        "its host key is not known here",
        "connect once with `ssh HOST` and accept the key",
    ),
    (
        "Could not resolve hostname",
        "the name does not resolve",
        "check its spelling, /etc/hosts and the name server",
    ),
    (
        "Permission denied",
        "it does not let us in",
        "`ssh -o BatchMode=yes HOST true` has to work: see `ssh-copy-id HOST` and `ssh-add`",
    ),
    (
        "Too many authentication failures",
        "it does not let us in",
        "name the key with `--ssh-option -oIdentitiesOnly=yes --ssh-option -iFILE`",
    ),
    (
        "Connection refused",
        "no sshd listens there",
        "start sshd on it, or give its port",
    ),
    (
        "No route to host",
        "it cannot be reached",
        "is the host up, and the network?",
    ),
    (
        "Network is unreachable",
        "it cannot be reached",
        "is the network up?",
    ),
    (
        "timed out",
        "it does not answer",
        "is the host up, and the network? A firewall may drop what we send",
    ),
    (
        "Connection closed by",
        "it ended the connection",
        "look into the log of sshd there",
    ),
    (
        "Connection reset by",
        "it ended the connection",
        "look into the log of sshd there",
    ),
    (
        "GLIBC_",
        "its C library is older than the one this phalanx was built for",
        "build phalanx on the oldest of the hosts, or for a musl target",
    ),
    (
        "Exec format error",
        "it cannot run programs of this machine",
        "build phalanx for its processor and start it there",
    ),
    (
        "No space left on device",
        "its disk is full",
        "make room in the cache directory that is named",
    ),
    (
        "Read-only file system",
        "it cannot be written to",
        "set XDG_CACHE_HOME there to a directory that can, or use --no-ship with a shared one",
    ),
    (
        "unrecognized subcommand",
        "it has an older phalanx",
        "install this one there too, or leave out --no-ship to send it",
    ),
    (
        "not found",
        "it cannot run this phalanx",
        "does it have the loader and C library that this one has? Build for a musl target if not",
    ),
];

/// What is wrong with a host, and what can be done, if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Explained {
    pub(crate) what: String,
    pub(crate) remedy: Option<String>,
}

impl Explained {
    /// All of it as one line about a host that could not be started.
    pub(crate) fn line(&self, host: &str) -> String {
        let Self { what, remedy } = self;
        let remedy = remedy.as_ref();
        let remedy = remedy.map_or_else(String::new, |remedy| format!("; {remedy}"));
        format!("cannot start on {host}: {what}{remedy}")
    }
}

/// Explains a failed start. `said` are the words of the way, `what` is what we have seen ourselves.
pub(crate) fn explain(host: &str, way: &str, what: &str, said: &str) -> Explained {
    let known = KNOWN.iter().find(|(words, _, _)| said.contains(words));
    let quoted = quote(said, known.map(|(words, _, _)| *words));
    let told = if quoted.is_empty() {
        String::new()
    } else {
        format!(" ({way} says: {quoted})")
    };
    match known {
        Some((_, meaning, remedy)) => Explained {
            what: format!("{meaning}{told}"),
            remedy: Some(remedy.replace("HOST", host)),
        },
        None => Explained {
            what: format!("{what}{told}"),
            remedy: None,
        },
    }
}

/// The line that matters, in one piece of bounded length, without anything that moves a cursor.
fn quote(said: &str, words: Option<&str>) -> String {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let chosen = words
        .and_then(|words| lines().find(|line| line.contains(words)))
        .or_else(|| lines().next_back())
        .unwrap_or("");
    let chosen = chosen.trim_matches(|char: char| char == '@' || char.is_whitespace());
    let visible = chosen.chars().filter(|char| !char.is_control());
    visible.take(QUOTED_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(host: &str, way: &str, what: &str, said: &str) -> String {
        explain(host, way, what, said).line(host)
    }

    #[test]
    fn the_words_of_ssh_are_quoted_and_explained() {
        for (said, meaning, quoted) in [
            (
                "ssh: connect to host n1 port 22: Connection refused\r\n",
                "no sshd listens",
                "port 22: Connection refused)",
            ),
            (
                "ssh: Could not resolve hostname n1: Name or service not known",
                "does not resolve",
                "Could not resolve hostname n1",
            ),
            (
                "@@@@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@\nIT IS POSSIBLE\n\
                 Host key verification failed.\n",
                "not the one that is known",
                "says: WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!)",
            ),
            (
                "No ED25519 host key is known for n1 and you have requested strict checking.\nHost \
                 key verification failed.",
                "not known here",
                "Host key verification failed.",
            ),
            (
                "root@n1: Permission denied (publickey).",
                "does not let us in",
                "(publickey).",
            ),
        ] {
            let line = line("n1", "ssh", "it ended", said);
            assert!(line.contains("on n1") && line.contains(meaning), "{line}");
            assert!(
                line.contains(quoted) && !line.contains("`ssh HOST`"),
                "{line}"
            );
            assert!(!line.contains('\n') && !line.contains('\r'), "{line}");
        }
    }

    #[test]
    fn unknown_words_are_quoted_as_they_are() {
        assert_eq!(
            line(
                "n1",
                "ssh",
                "it ended with code 3",
                "first\nwhat\x1b[2J happened\n"
            ),
            "cannot start on n1: it ended with code 3 (ssh says: what[2J happened)"
        );
        assert_eq!(
            line("n1", "srun", "no answer", ""),
            "cannot start on n1: no answer"
        );
    }
}
