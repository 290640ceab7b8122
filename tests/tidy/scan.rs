//! A source file as tokens, and what the rules ask of it.

use std::cell::OnceCell;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// What was found: `file:line: rule`.
#[derive(Default)]
pub(crate) struct Findings(pub(crate) Vec<String>);

impl Findings {
    pub(crate) fn add(&mut self, source: &Source, line: usize, rule: &str) {
        self.0.push(format!("{}:{line}: {rule}", source.path));
    }
}

/// A file, by its path from the root of the project.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    tokens: OnceCell<TokenStream>,
}

pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            tokens: OnceCell::new(),
        }
    }

    fn tokens(&self) -> TokenStream {
        let parse = || {
            let parsed = self.text.parse();
            parsed.unwrap_or_else(|error| panic!("{}: not Rust: {error}", self.path))
        };
        self.tokens.get_or_init(parse).clone()
    }

    /// Line and first module of every path into this crate: `crate::engine::..`, `super::super::engine`.
    /// `inside` is the file's path below `src/`.
    pub(crate) fn paths_into_the_crate(&self, inside: &str) -> Vec<(usize, String)> {
        let mut module: Vec<String> = inside
            .trim_end_matches(".rs")
            .split('/')
            .map(str::to_owned)
            .collect();
        if module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        let mut found = Vec::new();
        crate_paths(self.tokens(), &mut module, &mut found);
        found
    }

    /// Line and first segment of every path that begins with this crate's name.
    pub(crate) fn paths_into(&self, name: &str) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        walk(self.tokens(), &mut |trees, at| {
            if word(trees, at).is_some_and(|it| it == name) && is_path(trees, at + 1) {
                first_segments(&trees[at + 3..], &mut found);
            }
        });
        found
    }

    /// Functions with a body.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        walk(self.tokens(), &mut |trees, at| {
            let (Some(keyword), Some(name)) = (word(trees, at), word(trees, at + 1)) else {
                return;
            };
            if keyword != "fn" {
                return;
            }
            let body = trees[at..]
                .iter()
                .take_while(|tree| !matches!(tree, TokenTree::Punct(mark) if mark.as_char() == ';'))
                .find_map(|tree| match tree {
                    TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => Some(body),
                    _ => None,
                });
            if let Some(body) = body {
                let line = trees[at].span().start().line;
                let lines = body.span_close().end().line + 1 - line;
                found.push(Function { name, line, lines });
            }
        });
        found
    }

    /// Macros that are called.
    pub(crate) fn macros(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        walk(self.tokens(), &mut |trees, at| {
            if let (Some(name), true) = (word(trees, at), is_mark(trees, at + 1, '!')) {
                found.push((trees[at].span().start().line, name));
            }
        });
        found
    }

    /// Lines with this word as code.
    pub(crate) fn words(&self, wanted: &str) -> Vec<usize> {
        let mut found = Vec::new();
        walk(self.tokens(), &mut |trees, at| {
            if word(trees, at).is_some_and(|it| it == wanted) {
                found.push(trees[at].span().start().line);
            }
        });
        found
    }

    /// Examples and their files that a document mentions, as paths.
    pub(crate) fn example_paths(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let stops = |c: char| !(c.is_alphanumeric() || "._-/".contains(c));
        for (number, line) in self.text.lines().enumerate() {
            for (at, mark) in line.match_indices("--example ") {
                let name = line[at + mark.len()..].split(stops).next();
                let name = name.unwrap_or_default();
                // `--example NAME` stands for any.
                if name.chars().any(char::is_lowercase) {
                    found.push((number + 1, format!("examples/{name}.rs")));
                }
            }
            for (at, _) in line.match_indices("examples/") {
                let path = line[at..].split(stops).next().unwrap_or_default();
                found.push((number + 1, path.trim_end_matches('.').to_owned()));
            }
        }
        found
    }
}

/// Calls `look` with every position of every sequence of tokens.
fn walk(stream: TokenStream, look: &mut impl FnMut(&[TokenTree], usize)) {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    for at in 0..trees.len() {
        look(&trees, at);
        if let TokenTree::Group(group) = &trees[at] {
            walk(group.stream(), look);
        }
    }
}

fn crate_paths(stream: TokenStream, module: &mut Vec<String>, found: &mut Vec<(usize, String)>) {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let mut at = 0;
    while at < trees.len() {
        let name = word(&trees, at).unwrap_or_default();
        if name == "mod" {
            if let (Some(inner), Some(TokenTree::Group(body))) =
                (word(&trees, at + 1), trees.get(at + 2))
            {
                module.push(inner);
                crate_paths(body.stream(), module, found);
                module.pop();
                at += 3;
                continue;
            }
        }
        if name == "crate" && is_path(&trees, at + 1) {
            first_segments(&trees[at + 3..], found);
        } else if name == "super" && is_path(&trees, at + 1) {
            let mut ups = 1;
            while word(&trees, at + 3).is_some_and(|next| next == "super")
                && is_path(&trees, at + 4)
            {
                ups += 1;
                at += 3;
            }
            // Short of the root, it stays in the same top module.
            if ups >= module.len() {
                first_segments(&trees[at + 3..], found);
            }
        }
        if let TokenTree::Group(group) = &trees[at] {
            crate_paths(group.stream(), module, found);
        }
        at += 1;
    }
}

/// The first names of a path, or of each path in a group of braces.
fn first_segments(trees: &[TokenTree], found: &mut Vec<(usize, String)>) {
    match trees.first() {
        Some(TokenTree::Ident(name)) => found.push((name.span().start().line, name.to_string())),
        Some(TokenTree::Group(group)) => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            let parts =
                inner.split(|tree| matches!(tree, TokenTree::Punct(mark) if mark.as_char() == ','));
            for part in parts {
                first_segments(part, found);
            }
        }
        _ => {}
    }
}

fn word(trees: &[TokenTree], at: usize) -> Option<String> {
    match trees.get(at) {
        Some(TokenTree::Ident(name)) => Some(name.to_string()),
        _ => None,
    }
}

fn is_mark(trees: &[TokenTree], at: usize, wanted: char) -> bool {
    matches!(trees.get(at), Some(TokenTree::Punct(mark)) if mark.as_char() == wanted)
}

fn is_path(trees: &[TokenTree], at: usize) -> bool {
    is_mark(trees, at, ':') && is_mark(trees, at + 1, ':')
}
