//! No modules of a crate import each other in a circle, and neither do the crates of the workspace.
//!
//! A module imports another if it names it in a `use`, or in a path that begins with `crate`, `super` or `self`. A name
//! that a module re-exports counts as its own, unless the module consists of submodules and re-exports only. Submodules
//! are parts of a module, which may use them although they use it. Re-exports and tests do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const CRATES: [&str; 10] = ["core", "lab", "lm", "verify", "tables", "cuda", "cuda/stand-in", "cli", "wasm", "xtask"];

/// A path within a crate: that of a module or of an item, empty for the crate itself.
type ItemPath = Vec<String>;
/// Names with the names that they import, and the reason for each import.
type Graph = BTreeMap<String, BTreeMap<String, Vec<String>>>;

#[derive(Debug, Default)]
struct Module {
    file: PathBuf,
    /// Paths that the module imports, with their lines.
    imports: Vec<(ItemPath, usize)>,
    /// Names that the module re-exports, with their paths.
    exports: BTreeMap<String, ItemPath>,
    /// Whether the module defines anything itself.
    defines: bool,
}

/// Splits source code into words and punctuation, each with its line. Comments are left out, and literals are empty.
fn tokens(text: &str) -> Vec<(String, usize)> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut line, mut i) = (Vec::<(String, usize)>::new(), 1, 0);
    while let Some(&c) = chars.get(i) {
        let rest = |n: usize| chars.get(i + n).copied().unwrap_or_default();
        let start = i;
        let mut token = String::new();
        if c == '/' && rest(1) == '/' {
            i += chars[i..].iter().take_while(|c| **c != '\n').count();
        } else if c == '/' && rest(1) == '*' {
            i += 2;
            while i < chars.len() && (chars[i - 1] != '/' || chars[i - 2] != '*' || i < start + 4) {
                i += 1;
            }
        } else if c.is_alphanumeric() || c == '_' {
            token = chars[i..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
            i += token.chars().count();
            let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
            if ["r", "br"].contains(&token.as_str()) && chars.get(i + hashes) == Some(&'"') {
                let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                i += hashes + 1;
                i += chars[i..].windows(end.len()).take_while(|part| **part != end).count() + end.len();
                token = "\"".into();
            }
        } else if c == '"' || (c == '\'' && (rest(1) == '\\' || rest(2) == '\'')) {
            i += 1;
            while i < chars.len() && chars[i] != c {
                i += if chars[i] == '\\' { 2 } else { 1 };
            }
            i += 1;
            token = "\"".into();
        } else if c == ':' && rest(1) == ':' {
            i += 2;
            token = "::".into();
        } else {
            i += 1;
            token = c.to_string();
        }
        if !token.trim().is_empty() {
            tokens.push((token, line));
        }
        line += chars[start..i.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// Reader of the tokens of one file.
struct Reader<'a> {
    modules: &'a mut BTreeMap<ItemPath, Module>,
    tokens: Vec<(String, usize)>,
    at: usize,
}

impl Reader<'_> {
    fn token(&self, n: usize) -> &str {
        self.tokens.get(self.at + n).map_or("", |(token, _)| token)
    }

    fn is_path(&self) -> bool {
        ["crate", "super", "self"].contains(&self.token(0)) && self.token(1) == "::"
    }

    /// Reads the items of a module up to a closing brace or the end, and returns its submodules in other files.
    fn module(&mut self, path: &ItemPath, file: &Path) -> Vec<String> {
        let (mut module, mut children, mut depth) = (Module { file: file.into(), ..Module::default() }, Vec::new(), 0);
        while self.at < self.tokens.len() {
            let line = self.tokens[self.at].1;
            match (self.token(0), self.token(1), self.token(2)) {
                ("#", ..) => self.attribute(),
                ("mod", _, ";") => {
                    children.push(self.token(1).to_owned());
                    self.at += 3;
                }
                ("mod", name, "{") => {
                    let inner = [path, &[name.to_owned()][..]].concat();
                    self.at += 3;
                    self.module(&inner, file);
                }
                ("use", next, _) if next != "<" => {
                    let before = self.tokens[..self.at].iter().rev().map(|(token, _)| token.as_str());
                    let is_public = before.take_while(|token| !["}", ";", "]"].contains(token)).any(|t| t == "pub");
                    self.at += 1;
                    let mut found = Vec::new();
                    self.tree(&Vec::new(), &mut found);
                    for (name, item) in found {
                        if is_public {
                            module.exports.insert(name, item);
                        } else {
                            module.imports.push((item, line));
                        }
                    }
                }
                // The place that `pub(in …)` names is no import.
                ("(", "in", _) => self.at += 3,
                _ if self.is_path() => {
                    let mut item = vec![self.token(0).to_owned()];
                    self.at += 1;
                    while self.token(0) == "::" && self.token(1).starts_with(|c: char| c.is_alphabetic() || c == '_') {
                        item.push(self.token(1).to_owned());
                        self.at += 2;
                    }
                    module.imports.push((item, line));
                }
                ("{", ..) => {
                    depth += 1;
                    self.at += 1;
                }
                ("}", ..) => {
                    self.at += 1;
                    if depth == 0 {
                        break;
                    }
                    depth -= 1;
                }
                (word, next, _) => {
                    let items = ["fn", "struct", "enum", "union", "trait", "impl", "type", "const", "static"];
                    module.defines |= items.contains(&word) || next == "!";
                    self.at += 1;
                }
            }
        }
        self.modules.insert(path.clone(), module);
        children
    }

    /// Skips an attribute, and the item under it if that is for tests only.
    fn attribute(&mut self) {
        let is_test = matches!(
            [1, 2, 3, 4, 5, 6].map(|n| self.token(n)),
            ["[", "cfg", "(", "test" | "doctest", ..] | ["[", "cfg", "(", "all", "(", "test"]
        );
        self.at += 1;
        let mut depth = 0;
        while self.at < self.tokens.len() {
            let token = self.token(0);
            depth += i32::from(["[", "(", "{"].contains(&token)) - i32::from(["]", ")", "}"].contains(&token));
            self.at += 1;
            let last = self.tokens[self.at - 1].0.as_str();
            if depth == 0 && (last == "]" && !is_test || [";", "}"].contains(&last)) {
                break;
            }
        }
    }

    /// Reads a tree of imports after `prefix`, and collects the names with their paths.
    fn tree(&mut self, prefix: &ItemPath, found: &mut Vec<(String, ItemPath)>) {
        let mut item = prefix.clone();
        loop {
            match (self.token(0), self.token(1)) {
                ("::", _) => self.at += 1,
                ("{", _) => {
                    self.at += 1;
                    while self.token(0) != "}" {
                        self.tree(&item, found);
                        self.at += usize::from(self.token(0) == ",");
                    }
                    self.at += 1;
                    return;
                }
                ("," | "}" | ";", _) => break,
                ("as", name) => {
                    found.push((name.to_owned(), item));
                    self.at += 2;
                    return;
                }
                ("self", _) if item != *prefix || !item.is_empty() => self.at += 1,
                (word, _) => {
                    item.push(word.to_owned());
                    self.at += 1;
                }
            }
        }
        found.push((item.last().cloned().unwrap_or_default(), item));
    }
}

/// Reads a module's file and those of its submodules. A module whose file is elsewhere, by `#[path]`, is left out.
fn read(source: &Path, path: ItemPath, modules: &mut BTreeMap<ItemPath, Module>) {
    let mut folder = path.iter().fold(source.to_owned(), |folder, name| folder.join(name));
    let file = match path.is_empty() {
        true => ["lib.rs", "main.rs"].map(|name| source.join(name)).into_iter().find(|file| file.exists()),
        false => [folder.join("mod.rs"), folder.with_extension("rs")].into_iter().find(|file| file.exists()),
    };
    let Some(file) = file else { return };
    folder = file.strip_prefix(ROOT).unwrap_or(&file).to_owned();
    let text = fs::read_to_string(&file).expect("a source");
    let children = Reader { modules, tokens: tokens(&text), at: 0 }.module(&path, &folder);
    for child in children {
        read(source, [&path[..], &[child]].concat(), modules);
    }
}

/// Returns the module that an item of `from` is in, or `None` if it is in another crate.
fn home<'a>(modules: &'a BTreeMap<ItemPath, Module>, from: &[String], item: &[String]) -> Option<&'a ItemPath> {
    let (first, rest) = item.split_first()?;
    let mut place = match first.as_str() {
        "crate" => Vec::new(),
        "self" => from.to_vec(),
        "super" => from.split_last()?.1.to_vec(),
        _ => [from, &item[..1]].concat(),
    };
    if !modules.contains_key(&place) {
        return None;
    }
    let mut rest = rest.iter();
    let mut name = rest.next();
    while let Some(word) = name {
        match word.as_str() {
            "super" => _ = place.pop(),
            _ if modules.contains_key(&[&place[..], std::slice::from_ref(word)].concat()) => place.push(word.clone()),
            _ => break,
        }
        name = rest.next();
    }
    let (path, module) = modules.get_key_value(&place)?;
    let export = name.filter(|_| !module.defines).and_then(|name| module.exports.get(name));
    export.map_or(Some(path), |export| home(modules, path, export))
}

/// Returns the graph of the imports between the modules of a crate.
fn imports(source: &Path) -> Graph {
    let mut modules = BTreeMap::new();
    read(source, Vec::new(), &mut modules);
    let name = |path: &ItemPath| if path.is_empty() { "crate".to_owned() } else { path.join("::") };
    let mut graph = Graph::new();
    for (path, module) in &modules {
        for (item, line) in &module.imports {
            if let Some(other) = home(&modules, path, item).filter(|other| !other.starts_with(path)) {
                let why = format!("{}:{line}: {}", module.file.display(), item.join("::"));
                graph.entry(name(path)).or_default().entry(name(other)).or_default().push(why);
            }
        }
    }
    graph
}

/// Returns the crates of the workspace with the crates that they depend on, tests aside.
fn dependencies() -> Graph {
    let manifest = |folder: &str| -> toml::Table {
        let text = fs::read_to_string(Path::new(ROOT).join(folder).join("Cargo.toml")).expect("a manifest");
        text.parse().expect("a manifest in TOML")
    };
    let root = manifest(".");
    let members = root["workspace"]["members"].as_array().expect("members").iter().filter_map(|m| m.as_str());
    let manifests: Vec<toml::Table> = members.map(manifest).collect();
    let name = |table: &toml::Table| table["package"]["name"].as_str().expect("a name").to_owned();
    let names: BTreeSet<String> = manifests.iter().map(name).collect();
    let mut graph = Graph::new();
    for table in &manifests {
        for kind in ["dependencies", "build-dependencies"] {
            let all = table.get(kind).and_then(|all| all.as_table()).into_iter().flatten();
            for (other, _) in all.filter(|(other, _)| names.contains(*other)) {
                let why = format!("[{kind}] of {}", name(table));
                graph.entry(name(table)).or_default().entry(other.clone()).or_default().push(why);
            }
        }
    }
    graph
}

/// Returns everything that can be reached from `start` in one step or more.
fn reached<'a>(graph: &'a Graph, start: &'a str) -> BTreeSet<&'a str> {
    let (mut found, mut open) = (BTreeSet::new(), vec![start]);
    while let Some(others) = open.pop().map(|name| graph.get(name)) {
        let new = others.into_iter().flat_map(BTreeMap::keys).map(String::as_str).filter(|other| found.insert(*other));
        open.extend(new.collect::<Vec<_>>());
    }
    found
}

/// Returns the circles of a graph: sets of names that all reach each other.
fn circles(graph: &Graph) -> BTreeSet<BTreeSet<&str>> {
    let reach: BTreeMap<_, _> = graph.keys().map(|name| (name.as_str(), reached(graph, name))).collect();
    let mut circles = BTreeSet::new();
    for (name, others) in &reach {
        let meets = |other: &&&str| reach.get(*other).is_some_and(|all| all.contains(name));
        circles.insert(others.iter().filter(meets).copied().collect());
    }
    circles.retain(|circle: &BTreeSet<_>| circle.len() > 1);
    circles
}

/// Describes a circle by the lines that make it.
fn describe(graph: &Graph, circle: &BTreeSet<&str>) -> String {
    let mut text = String::new();
    for name in circle {
        for (other, reasons) in graph[*name].iter().filter(|(other, _)| circle.contains(other.as_str())) {
            writeln!(text, "  {name} imports {other}: {}", reasons.join(", ")).expect("a String takes any text");
        }
    }
    text
}

#[test]
fn no_modules_import_each_other_in_a_circle() {
    let mut wrong = String::new();
    for name in CRATES {
        let source = Path::new(ROOT).join(name).join("src");
        let graph = imports(&source);
        for circle in circles(&graph) {
            wrong += &format!("{name}: {circle:?} import each other\n{}", describe(&graph, &circle));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn no_crates_depend_on_each_other_in_a_circle() {
    let graph = dependencies();
    assert!(reached(&graph, "flowrl-cli").contains("flowrl-core"), "{graph:?}");
    let circles = circles(&graph);
    assert!(circles.is_empty(), "{}", circles.iter().map(|circle| describe(&graph, circle)).collect::<String>());
}

#[test]
fn a_circle_is_found_with_the_lines_that_make_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |file: &str, text: &str| {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("a source");
    };
    write("lib.rs", "mod a;\nmod b;\nmod c;\npub use a::A;\n");
    write("a.rs", "//! use crate::c::C;\nuse crate::{b::{C, self}, c};\npub struct A(C, b::B, c::D);\n");
    write("b/mod.rs", "mod inner;\npub use inner::{B, C};\n");
    write("b/inner.rs", "pub struct B;\npub struct C;\n#[cfg(test)]\nmod tests {\n    use crate::A;\n}\n");
    write("c.rs", "pub struct D;\n");
    assert_eq!(circles(&imports(folder.path())), BTreeSet::new());
    write("c.rs", "/* crate::b */\npub struct D;\nfn f() { \"crate::b::B\"; super::b::B.g(); }\n");
    assert_eq!(circles(&imports(folder.path())), BTreeSet::new());
    write("b/inner.rs", "pub struct B;\nimpl B {\n    fn g() { crate::A::h(); }\n}\n");
    let graph = imports(folder.path());
    let circles = circles(&graph);
    assert_eq!(circles, BTreeSet::from([BTreeSet::from(["a", "b::inner", "c"])]));
    let said = describe(&graph, circles.first().expect("a circle"));
    assert!(said.contains("a.rs:2: crate::b::C") && said.contains("inner.rs:3: crate::A::h"), "{said}");
}
