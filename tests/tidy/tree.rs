//! The files of the project.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::scan::Source;

/// Where Rust sources are.
const CODE: &[&str] = &["src", "launcher", "tests", "examples", "benches", "fuzz"];
/// Files that are text, by the end of their names.
const TEXT: &[&str] = &["rs", "md", "toml", "yml", "yaml", "sh", "run"];
/// Directories that are not the project's text.
const NOT_OURS: &[&str] = &["target", ".git", "data", "corpus", "artifacts"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust source.
pub(crate) fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for directory in CODE {
        collect(&root().join(directory), &["rs"], &mut found);
    }
    found
}

/// Every text.
pub(crate) fn texts() -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root(), TEXT, &mut found);
    found
}

pub(crate) fn read(path: &str) -> Source {
    let text = std::fs::read_to_string(root().join(path));
    Source::new(
        path,
        &text.unwrap_or_else(|error| panic!("{path}: {error}")),
    )
}

pub(crate) fn exists(path: &str) -> bool {
    root().join(path).exists()
}

/// Names of the examples.
pub(crate) fn examples() -> Vec<String> {
    let file = |path: PathBuf| {
        let name = path.file_stem()?.to_str()?.to_owned();
        (path.extension()? == "rs").then_some(name)
    };
    let mut names: Vec<String> = entries(&root().join("examples"))
        .into_iter()
        .filter_map(file)
        .collect();
    names.sort();
    names
}

/// The modules right below the root of the library.
pub(crate) fn modules_of_the_library() -> Vec<String> {
    let mut modules: Vec<String> = entries(&root().join("src"))
        .iter()
        .filter_map(|path| path.file_stem()?.to_str().map(str::to_owned))
        .filter(|name| name != "lib")
        .collect();
    modules.sort();
    modules.dedup();
    modules
}

/// The module of a file below `src/`; `None` for the root.
pub(crate) fn module_of(inside: &str) -> Option<String> {
    let first = inside.split('/').next().unwrap_or_default();
    let module = first.trim_end_matches(".rs");
    (module != "lib").then(|| module.to_owned())
}

/// What the root re-exports, and from which module.
pub(crate) fn root_exports() -> HashMap<String, String> {
    let text = read("src/lib.rs").text;
    let mut exports = HashMap::new();
    for export in text.split("pub use ").skip(1) {
        let export = export.split(';').next().unwrap_or_default();
        let module = export.split("::").next().unwrap_or_default();
        for name in export.split(|c: char| !(c.is_alphanumeric() || c == '_')) {
            if !name.is_empty() && name != module {
                exports.insert(name.to_owned(), module.to_owned());
            }
        }
    }
    exports
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

fn collect(directory: &Path, endings: &[&str], found: &mut Vec<Source>) {
    for path in entries(directory) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !NOT_OURS.contains(&&*name) {
                collect(&path, endings, found);
            }
        } else if endings.contains(&name.rsplit('.').next().unwrap_or_default()) {
            let inside = path.strip_prefix(root()).unwrap_or(&path);
            found.push(read(&inside.to_string_lossy()));
        }
    }
}
