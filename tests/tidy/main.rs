//! What a program can check of the house: layers, sizes, rooms for unsafe code, documents.
//!
//! Every rule gives lines `file:line: rule`. The tables below say what is allowed; an exception is
//! entered there with its reason, so that it is seen when it is made.

mod scan;
mod tree;

use scan::{Findings, Source};

/// Each module of the library and the modules that it may name. Arrows go down only: a row names rows
/// above it, except where two modules of one layer work together.
const LAYERS: &[(&str, &[&str])] = &[
    // Layer 0: words, bounds, errors.
    ("base", &[]),
    ("limits", &[]),
    ("error", &[]),
    ("config", &[]),
    // Layer 1, pure: bytes.
    ("wire", &["base", "limits"]),
    // Layer 2, pure.
    ("engine", &["wire", "base", "limits"]),
    ("schedule", &["limits"]),
    ("stall", &["wire"]),
    ("audit", &["wire", "base"]),
    // Layer 2, edges. Operators say in which order a schedule may combine, and combine in shared memory too.
    ("sys", &["base"]),
    ("pod", &["schedule", "base"]),
    ("transport", &["sys", "wire", "base", "limits"]),
    // Layer 3 joins the pure core and the edges.
    (
        "runtime",
        &[
            "transport",
            "pod",
            "sys",
            "stall",
            "audit",
            "schedule",
            "engine",
            "wire",
            "config",
            "error",
            "limits",
            "base",
        ],
    ),
    // Layer 4: what users see.
    (
        "comm",
        &[
            "runtime", "audit", "pod", "schedule", "engine", "wire", "config", "error", "limits",
            "base",
        ],
    ),
    ("manual", &[]),
];

/// What the launcher may use of the library besides its public interface: it speaks to ranks, and is
/// no rank itself. It shows the table of algorithms, and makes the memory that ranks share.
const LAUNCHER: &[&str] = &[
    "wire",
    "base",
    "limits",
    "sys",
    "transport",
    "config",
    "schedule",
    "stall",
    "audit",
];

/// Modules without unsafe code, by their own word.
const PURE: &[&str] = &["wire", "engine", "schedule"];

/// Where unsafe code may be, and why.
const UNSAFE: &[(&str, &str)] = &[
    ("src/sys/", "system calls"),
    ("src/pod/", "elements as bytes"),
    ("fuzz/src/lib.rs", "the allocator that refuses"),
    ("src/base/words", "memory that two sides write"),
    ("src/transport/shm", "memory that two processes write"),
    ("src/runtime/buffers/", "the table of lent buffers"),
    ("src/runtime/requests.rs", "lends buffers to the table"),
    ("src/runtime/collectives.rs", "lends buffers to the table"),
    ("src/runtime/execute.rs", "reads and writes lent buffers"),
    ("src/runtime/perform.rs", "reads and writes lent buffers"),
    (
        "src/comm/scope.rs",
        "lends buffers for as long as a scope lasts",
    ),
    (
        "launcher/tests/ranked.rs",
        "takes over an inherited descriptor",
    ),
];

/// Lines of a file and of a function.
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
/// Functions that may be longer, and why.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];

/// Macros that stand for unfinished work.
const UNFINISHED: &[&str] = &["todo", "unimplemented", "dbg"];

/// Top directories that are somebody's own machine.
const PRIVATE_DIRECTORIES: &[&str] = &["home", "root", "work", "Users", "mnt", "media"];

fn assert_none(findings: &Findings) {
    assert!(findings.0.is_empty(), "\n{}\n", findings.0.join("\n"));
}

fn check_sources(check: impl Fn(&Source, &mut Findings)) {
    let mut findings = Findings::default();
    let sources = tree::sources();
    assert!(sources.len() > 100, "the sources were not found");
    for source in &sources {
        check(source, &mut findings);
    }
    assert_none(&findings);
}

#[test]
fn imports_go_down_only() {
    check_sources(layers);
}

#[test]
fn the_table_of_layers_names_every_module() {
    let modules = tree::modules_of_the_library();
    let mut rows: Vec<&str> = LAYERS.iter().map(|(module, _)| *module).collect();
    rows.retain(|row| *row != "manual" || modules.iter().any(|module| module == row));
    rows.sort_unstable();
    assert_eq!(rows, modules, "LAYERS in tests/tidy/main.rs, and src/");
    for (index, (module, below)) in LAYERS.iter().enumerate() {
        for arrow in *below {
            let target = LAYERS.iter().position(|(row, _)| row == arrow);
            assert!(
                target.is_some_and(|target| target < index),
                "LAYERS: {module} may name {arrow}, which is not above it in the table"
            );
        }
    }
}

fn layers(source: &Source, findings: &mut Findings) {
    let root = tree::root_exports();
    if let Some(inside) = source.path.strip_prefix("src/") {
        let Some(module) = tree::module_of(inside) else {
            return; // lib.rs
        };
        let allowed = LAYERS.iter().find(|(row, _)| *row == module);
        let Some((_, allowed)) = allowed else {
            findings.add(
                source,
                1,
                &format!("`{module}` is not in the table of layers"),
            );
            return;
        };
        for (line, target) in source.paths_into_the_crate(inside) {
            let target = root.get(&target).cloned().unwrap_or(target);
            if target != module && !allowed.contains(&target.as_str()) {
                findings.add(
                    source,
                    line,
                    &format!("`{module}` must not name `{target}`: imports go down only"),
                );
            }
        }
    } else if source.path.starts_with("launcher/src/") {
        for (line, target) in source.paths_into("phalanx") {
            let internal = LAYERS.iter().any(|(row, _)| *row == target);
            if internal && !LAUNCHER.contains(&target.as_str()) {
                findings.add(
                    source,
                    line,
                    &format!("the launcher must not name `phalanx::{target}`"),
                );
            }
        }
    }
}

#[test]
fn files_and_functions_can_be_read_in_a_sitting() {
    check_sources(sizes);
}

fn sizes(source: &Source, findings: &mut Findings) {
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        let rule = format!("{lines} lines: a file has {FILE_LINES_MAX} at most");
        findings.add(source, lines, &rule);
    }
    for function in source.functions() {
        let listed =
            |(path, name, _): &(&str, &str, &str)| *path == source.path && *name == function.name;
        if function.lines > FUNCTION_LINES_MAX && !LONG_FUNCTIONS.iter().any(listed) {
            let rule = format!(
                "`{}` has {} lines: a function has {FUNCTION_LINES_MAX} at most",
                function.name, function.lines
            );
            findings.add(source, function.line, &rule);
        }
    }
}

#[test]
fn nothing_is_left_unfinished() {
    check_sources(unfinished);
}

fn unfinished(source: &Source, findings: &mut Findings) {
    for (line, name) in source.macros() {
        if UNFINISHED.contains(&name.as_str()) {
            findings.add(source, line, &format!("`{name}!` is left over"));
        }
    }
}

#[test]
fn unsafe_code_stays_in_its_rooms() {
    check_sources(unsafe_rooms);
    for module in PURE {
        let path = format!("src/{module}/mod.rs");
        let source = tree::read(&path);
        assert!(
            source.text.contains("#![forbid(unsafe_code)]"),
            "{path}:1: a pure module forbids unsafe code"
        );
    }
}

fn unsafe_rooms(source: &Source, findings: &mut Findings) {
    if UNSAFE.iter().any(|(room, _)| source.path.starts_with(room)) {
        return;
    }
    for line in source.words("unsafe") {
        findings.add(source, line, "unsafe code outside the rooms for it");
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    check_sources(opening);
}

fn opening(source: &Source, findings: &mut Findings) {
    if !source.text.starts_with("//! ") {
        findings.add(source, 1, "a file begins with `//!` and what it is for");
    }
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    let mut findings = Findings::default();
    for source in tree::texts() {
        private_paths(&source, &mut findings);
    }
    assert_none(&findings);
}

fn private_paths(source: &Source, findings: &mut Findings) {
    for (number, line) in source.text.lines().enumerate() {
        for directory in PRIVATE_DIRECTORIES {
            let place = format!("/{directory}/");
            for (at, _) in line.match_indices(&place) {
                // `crates/work/`, `<root>/work/` and `https://host/home/` are something else.
                let before = line[..at].chars().next_back();
                if !before.is_some_and(|c| c.is_alphanumeric() || "._-/}>$*".contains(c)) {
                    findings.add(source, number + 1, &format!("names `{place}`"));
                }
            }
        }
    }
}

#[test]
fn examples_of_the_readme_exist_and_every_example_is_run_by_ci() {
    let mut findings = Findings::default();
    let readme = tree::read("README.md");
    for (line, path) in readme.example_paths() {
        if !tree::exists(&path) {
            findings.add(&readme, line, &format!("`{path}` does not exist"));
        }
    }
    let ci = tree::read(".ci/run");
    for example in tree::examples() {
        let by_name = format!("--example {example}");
        if !ci.text.contains(&by_name) {
            findings.add(&ci, 1, &format!("does not run `{by_name}`"));
        }
    }
    assert_none(&findings);
}

/// One sample for each rule, which the rule must find.
#[test]
fn the_rules_find_what_they_look_for() {
    let found = |path: &str, text: &str, check: fn(&Source, &mut Findings)| {
        let mut findings = Findings::default();
        check(&Source::new(path, text), &mut findings);
        findings.0
    };
    let up = "//! A.\nuse crate::{base::ids, comm::Tag};\n";
    let found_up = found("src/engine/x.rs", up, layers);
    assert_eq!(found_up.len(), 1, "{found_up:?}");
    assert!(found_up[0].starts_with("src/engine/x.rs:2: `engine` must not name `comm`"));
    let relative = "//! A.\nmod inner { use super::super::super::runtime::Core; }\n";
    assert_eq!(found("src/engine/x.rs", relative, layers).len(), 1);
    let exported = "//! A.\nfn f() -> crate::Communicator { m!(crate::pod::Pod) }\n";
    assert_eq!(found("src/wire/x.rs", exported, layers).len(), 2);
    let down = "//! A.\nuse crate::wire::header::Header;\nuse super::types::Envelope;\n";
    assert!(found("src/engine/x.rs", down, layers).is_empty());
    let inside = "//! A.\nuse phalanx::runtime::Runtime;\nuse phalanx::wire::control;\n";
    assert_eq!(found("launcher/src/x.rs", inside, layers).len(), 1);

    let long = format!(
        "//! A.\nfn f() {{\n{}}}\n",
        "    g();\n".repeat(FUNCTION_LINES_MAX)
    );
    assert_eq!(found("src/x.rs", &long, sizes).len(), 1);
    let long = "// line\n".repeat(FILE_LINES_MAX + 1);
    assert_eq!(found("src/x.rs", &long, sizes).len(), 1);
    let left = format!("fn f() {{ {}!() }}", UNFINISHED[0]);
    assert_eq!(found("src/x.rs", &left, unfinished).len(), 1);
    let danger = "// unsafe\nfn f() { unsafe { g() } }";
    assert_eq!(
        found("src/comm/x.rs", danger, unsafe_rooms),
        ["src/comm/x.rs:2: unsafe code outside the rooms for it"]
    );
    assert!(found("src/sys/x.rs", danger, unsafe_rooms).is_empty());
    assert_eq!(found("src/x.rs", "use std::fmt;", opening).len(), 1);
    let place = format!("see `/{}/me/notes`", PRIVATE_DIRECTORIES[0]);
    assert_eq!(found("README.md", &place, private_paths).len(), 1);
}
