//! Which system a host has.

use std::process::{Command, Stdio};

/// System, release and processor.
pub(super) fn name() -> String {
    let system = rustix::system::uname();
    let words = [system.sysname(), system.release(), system.machine()];
    words.map(std::ffi::CStr::to_string_lossy).join(" ")
}

/// The C library that programs of this host find, such as `glibc 2.36`; empty when it is not known.
pub(crate) fn c_library() -> String {
    let said = |program: &str, words: &[&str]| {
        let output = Command::new(program)
            .args(words)
            .stdin(Stdio::null())
            .output();
        let output = output.ok()?;
        let both = [output.stdout, output.stderr].concat();
        Some(String::from_utf8_lossy(&both).into_owned())
    };
    said("getconf", &["GNU_LIBC_VERSION"])
        .and_then(|text| glibc(&text))
        .or_else(|| said("ldd", &["--version"]).and_then(|text| musl(&text)))
        .unwrap_or_default()
}

fn glibc(said: &str) -> Option<String> {
    let line = said.lines().next()?.trim();
    line.starts_with("glibc ").then(|| line.to_owned())
}

fn musl(said: &str) -> Option<String> {
    let is_musl = said.starts_with("musl libc");
    let version = said.lines().find_map(|line| line.strip_prefix("Version "));
    is_musl.then(|| format!("musl {}", version.unwrap_or("")).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_libraries_are_known_by_what_their_tools_say() {
        assert_eq!(glibc("glibc 2.36\n").as_deref(), Some("glibc 2.36"));
        assert_eq!(glibc("getconf: unknown variable"), None);
        let said = "musl libc (x86_64)\nVersion 1.2.4\nDynamic Program Loader\n";
        assert_eq!(musl(said).as_deref(), Some("musl 1.2.4"));
        assert_eq!(musl("ldd (Debian GLIBC 2.36-9) 2.36"), None);
    }
}
