//! Reads the source of a crate into the paths that each of its modules names.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, Expr, ImplItem, Item, ItemMod, ItemUse, Meta, UseTree,
    buffer::{Cursor, TokenBuffer},
    visit::{self, Visit},
};

/// One module that has a file of its own.
pub struct Module {
    /// `["limit", "window"]`; empty for the root of the library.
    pub path: Vec<String>,
    /// As messages name it, from the root of the repository.
    pub file: String,
    /// Every path it names, made absolute: `crate::limit::Limit`, `std::time::Instant::now`, `crate::*`.
    pub names: BTreeSet<String>,
    /// The names of all methods it calls, each as often as it stands there; once more where that is in a loop or a closure.
    pub methods: Vec<String>,
    /// The modules that it declares and that stand in files of their own.
    declares: Vec<String>,
}

/// All modules of this crate, found by following the `mod` lines of `src/lib.rs`, and `src/main.rs`.
pub fn of_this_crate() -> Vec<Module> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    read(&src, &[], &src.join("lib.rs"), &mut found);
    read(&src, &["main".to_owned()], &src.join("main.rs"), &mut found);
    let main = found.pop().expect("main.rs was read");
    assert!(main.declares.is_empty(), "main.rs declares modules; they belong into the library");
    found
}

fn read(src: &Path, path: &[String], file: &Path, found: &mut Vec<Module>) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut module = parse(&path.join("::"), &text);
    let below = file.strip_prefix(src).expect("modules stand below src");
    module.file = Path::new("src").join(below).display().to_string();
    for child in &module.declares {
        let path: Vec<String> = path.iter().chain([child]).cloned().collect();
        read(src, &path, &file_of(src, &path), found);
    }
    found.push(module);
}

fn file_of(src: &Path, path: &[String]) -> PathBuf {
    let place: PathBuf = path.iter().fold(src.to_owned(), |place, name| place.join(name));
    let alone = place.with_extension("rs");
    if alone.exists() { alone } else { place.join("mod.rs") }
}

/// What the module `path` with the text `source` names.
pub fn parse(path: &str, source: &str) -> Module {
    let file = syn::parse_file(source).unwrap_or_else(|error| panic!("{path}: {error}"));
    let path: Vec<String> = path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let mut imports = Imports { here: path.clone(), ..Imports::default() };
    imports.visit_file(&file);
    let mut names = Names { imports, ..Names::default() };
    names.imports.here.clone_from(&path);
    names.visit_file(&file);
    Module { file: path.join("::"), path, names: names.found, methods: names.methods, declares: names.declares }
}

/// What short names stand for, by the module they are imported into.
#[derive(Default)]
struct Imports {
    here: Vec<String>,
    known: HashMap<(Vec<String>, String), Vec<String>>,
    /// Every imported path as it is written, with the module it stands in.
    written: Vec<(Vec<String>, Vec<String>)>,
}

impl Imports {
    /// The absolute path of `path`, written in the module `here`; as it is where it begins with neither a keyword nor
    /// an imported name.
    fn resolve(&self, here: &[String], path: &[String]) -> Vec<String> {
        let mut path = path.to_vec();
        // An import may rest on another; more than a few in a row are a circle.
        for _ in 0..4 {
            match path.first().map(String::as_str) {
                Some("self") => path = [&["crate".to_owned()], here, &path[1..]].concat(),
                Some("super") => {
                    let up = path.iter().take_while(|name| *name == "super").count();
                    let kept = here.len().saturating_sub(up);
                    path = [&["crate".to_owned()], &here[..kept], &path[up..]].concat();
                }
                Some("crate") | None => break,
                Some(first) => match self.known.get(&(here.to_vec(), first.to_owned())) {
                    Some(meant) if meant != &path[..1] => path = [meant, &path[1..]].concat(),
                    _ => break,
                },
            }
        }
        path
    }

    fn add(&mut self, tree: &UseTree, prefix: &[String]) {
        let joined = |name: String| [prefix, &[name]].concat();
        let (path, name) = match tree {
            UseTree::Path(path) => return self.add(&path.tree, &joined(path.ident.to_string())),
            UseTree::Group(group) => return group.items.iter().for_each(|tree| self.add(tree, prefix)),
            UseTree::Glob(_) => (joined("*".to_owned()), "*".to_owned()),
            UseTree::Name(name) if name.ident == "self" => (prefix.to_vec(), last(prefix)),
            UseTree::Name(name) => (joined(name.ident.to_string()), name.ident.to_string()),
            UseTree::Rename(name) if name.ident == "self" => (prefix.to_vec(), name.rename.to_string()),
            UseTree::Rename(name) => (joined(name.ident.to_string()), name.rename.to_string()),
        };
        self.known.insert((self.here.clone(), name), path.clone());
        self.written.push((self.here.clone(), path));
    }
}

fn last(path: &[String]) -> String {
    path.last().cloned().unwrap_or_default()
}

impl<'ast> Visit<'ast> for Imports {
    fn visit_item(&mut self, item: &'ast Item) {
        if !only_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.here.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.here.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add(&item.tree, &[]);
    }
}

/// Collects what is named.
#[derive(Default)]
struct Names {
    imports: Imports,
    found: BTreeSet<String>,
    methods: Vec<String>,
    /// Loops and closures around what is visited.
    repeated: usize,
    declares: Vec<String>,
}

impl Names {
    fn found(&mut self, path: &[String]) {
        let resolved = self.imports.resolve(&self.imports.here, path);
        // A single name is a local one: a variable called `http` is no crate.
        if resolved.len() > 1 {
            self.found.insert(resolved.join("::"));
        }
    }

    /// Macros and attributes are only tokens: every chain of names joined by `::` is taken for a path.
    fn scan(&mut self, mut cursor: Cursor<'_>) {
        let mut path: Vec<String> = Vec::new();
        let mut joined = false;
        let mut dotted = false;
        while !cursor.eof() {
            if let Some((name, rest)) = cursor.ident() {
                if dotted {
                    self.methods.push(name.to_string());
                }
                if !joined {
                    self.found(&std::mem::take(&mut path));
                }
                path.push(name.to_string());
                (joined, dotted, cursor) = (false, false, rest);
            } else if let Some((mark, rest)) = cursor.punct() {
                joined = mark.as_char() == ':' && !path.is_empty();
                dotted = mark.as_char() == '.';
                if !joined {
                    self.found(&std::mem::take(&mut path));
                }
                cursor = rest;
            } else {
                self.found(&std::mem::take(&mut path));
                (joined, dotted) = (false, false);
                if let Some((inside, _, _, rest)) = cursor.any_group() {
                    self.scan(inside);
                    cursor = rest;
                } else {
                    cursor = cursor.token_tree().expect("the end was looked for").1;
                }
            }
        }
        self.found(&path);
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast Item) {
        if !only_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = if let ImplItem::Fn(function) = item { &function.attrs[..] } else { &[] };
        if !only_for_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if module.content.is_none() {
            assert!(
                !module.attrs.iter().any(|attribute| attribute.path().is_ident("path")),
                "`mod {}` is elsewhere by #[path]; here a module stands where its name says",
                module.ident
            );
            self.declares.push(module.ident.to_string());
        }
        self.imports.here.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.imports.here.pop();
    }

    fn visit_item_use(&mut self, _: &'ast ItemUse) {}

    fn visit_file(&mut self, file: &'ast syn::File) {
        for (here, path) in std::mem::take(&mut self.imports.written) {
            let resolved = self.imports.resolve(&here, &path);
            self.found.insert(resolved.join("::"));
        }
        visit::visit_file(self, file);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.found(&names);
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let times = if self.repeated > 0 { 2 } else { 1 };
        self.methods.extend(std::iter::repeat_n(call.method.to_string(), times));
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr(&mut self, expr: &'ast Expr) {
        let repeats = matches!(expr, Expr::ForLoop(_) | Expr::While(_) | Expr::Loop(_) | Expr::Closure(_));
        self.repeated += usize::from(repeats);
        visit::visit_expr(self, expr);
        self.repeated -= usize::from(repeats);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.scan(TokenBuffer::new2(call.tokens.clone()).begin());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let path: Vec<String> = attribute.path().segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.found.insert(path.join("::"));
        if let Meta::List(list) = &attribute.meta {
            self.scan(TokenBuffer::new2(list.tokens.clone()).begin());
        }
    }

    // `pub(crate)` and `pub(in crate::x)` give, they do not take.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}
}

/// `#[cfg(test)]`, also as one of `all(…)`; not where there is a `not`.
fn only_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).any(|attribute| {
        let Meta::List(list) = &attribute.meta else { return false };
        let condition = list.tokens.to_string();
        let mut words = condition.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.clone().any(|word| word == "test") && !words.any(|word| word == "not" || word == "any")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
