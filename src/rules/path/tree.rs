//! The tree that finds the template of a path: one node a segment, so that a lookup costs the path's length whatever
//! the number of templates.

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::{Path, Template, template::Segment};

/// Templates, each with what it stands for.
#[derive(Clone, Debug)]
pub struct Tree<T> {
    /// The root first. In one list, not in boxes within boxes: a template of a million segments must be droppable
    /// without a million stack frames.
    nodes: Vec<Node<T>>,
}

#[derive(Clone, Debug)]
struct Node<T> {
    fixed: HashMap<Box<[u8]>, NodeIndex>,
    /// Behind `{name}`.
    one: Option<NodeIndex>,
    /// What a `{*rest}` from here on stands for.
    rest: Option<T>,
    /// What a template that ends here stands for.
    here: Option<T>,
}

type NodeIndex = usize;

impl<T: Copy> Tree<T> {
    /// Adds a template.
    ///
    /// # Errors
    ///
    /// What an equal template already stands for; the tree is unchanged.
    pub fn insert(&mut self, template: &Template, value: T) -> Result<(), T> {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut node = 0;
        for segment in template.segments() {
            node = match segment {
                Segment::Fixed(fixed) => self.behind_fixed(node, fixed),
                Segment::One => self.behind_one(node),
                Segment::Rest => return occupy(&mut self.nodes[node].rest, value),
            };
        }
        occupy(&mut self.nodes[node].here, value)
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// What the best template of `path` stands for: compared from the left, a fixed segment beats `{name}`, and that
    /// beats `{*rest}`.
    ///
    /// It costs one step a segment, and one more for each node that it returns to because a fixed segment led nowhere.
    /// It sees no node twice, and at depth d at most 2^d: a client can only make it see what the rules hold, however
    /// long the path.
    pub fn find(&self, path: &Path<'_>) -> Option<T> {
        self.search(path.text(), || ())
    }

    /// [`find`](Self::find), telling `step` of each node.
    fn search(&self, path: &[u8], mut step: impl FnMut()) -> Option<T> {
        let mut node = self.nodes.first()?;
        let mut ahead = if path == b"/" { &[] } else { path };
        let mut fallback = None;
        let mut alternatives: SmallVec<[(NodeIndex, &[u8]); 8]> = SmallVec::new();
        loop {
            step();
            if node.rest.is_some() {
                // It matches whatever follows and beats every alternative left of it.
                fallback = node.rest;
                alternatives.clear();
            }
            let next = match first_segment(ahead) {
                None if node.here.is_some() => return node.here,
                None => None,
                Some((segment, behind)) => match (node.fixed.get(segment), node.one) {
                    (Some(&fixed), one) => {
                        alternatives.extend(one.map(|one| (one, behind)));
                        Some((fixed, behind))
                    }
                    (None, one) => one.map(|one| (one, behind)),
                },
            };
            let Some((index, behind)) = next.or_else(|| alternatives.pop()) else { return fallback };
            node = &self.nodes[index];
            ahead = behind;
        }
    }

    /// What every template of `path` stands for, not only the best. It sees no node twice.
    pub fn all(&self, path: &Path<'_>) -> Vec<T> {
        let text = path.text();
        let mut found = Vec::new();
        let mut ahead: Vec<(NodeIndex, &[u8])> = vec![(0, if text == b"/" { &[] } else { text })];
        while let Some((index, text)) = ahead.pop() {
            let Some(node) = self.nodes.get(index) else { continue };
            found.extend(node.rest);
            match first_segment(text) {
                None => found.extend(node.here),
                Some((segment, behind)) => {
                    let next = node.fixed.get(segment).copied().into_iter().chain(node.one);
                    ahead.extend(next.map(|next| (next, behind)));
                }
            }
        }
        found
    }

    /// What all templates stand for.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        self.nodes.iter().flat_map(|node| [node.here, node.rest]).flatten()
    }

    /// All templates in their canonical form, with what they stand for.
    pub fn templates(&self) -> Vec<(String, T)> {
        let (mut found, mut path) = (Vec::new(), String::new());
        // Each node with the length of the path above it: a text for each would be quadratic in the segments.
        let mut ahead: Vec<(NodeIndex, usize, Option<&[u8]>)> = vec![(0, 0, None)];
        while let Some((index, above, segment)) = ahead.pop() {
            let Some(node) = self.nodes.get(index) else { continue };
            path.truncate(above);
            if let Some(segment) = segment {
                path.push('/');
                path.push_str(&String::from_utf8_lossy(segment));
            }
            found.extend(node.here.map(|value| (if path.is_empty() { "/".to_owned() } else { path.clone() }, value)));
            found.extend(node.rest.map(|value| (format!("{path}/{{*}}"), value)));
            ahead.extend(node.fixed.iter().map(|(fixed, &next)| (next, path.len(), Some(&**fixed))));
            ahead.extend(node.one.map(|next| (next, path.len(), Some(&b"{}"[..]))));
        }
        found
    }

    fn behind_fixed(&mut self, node: NodeIndex, segment: &[u8]) -> NodeIndex {
        let new = self.nodes.len();
        let index = *self.nodes[node].fixed.entry(segment.into()).or_insert(new);
        self.grow_to(index);
        index
    }

    fn behind_one(&mut self, node: NodeIndex) -> NodeIndex {
        let new = self.nodes.len();
        let index = *self.nodes[node].one.get_or_insert(new);
        self.grow_to(index);
        index
    }

    /// Makes the node at `index` if it is the next new one.
    fn grow_to(&mut self, index: NodeIndex) {
        if index == self.nodes.len() {
            self.nodes.push(Node::default());
        }
    }
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { nodes: Vec::new() }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { fixed: HashMap::new(), one: None, rest: None, here: None }
    }
}

fn occupy<T: Copy>(place: &mut Option<T>, value: T) -> Result<(), T> {
    if let Some(occupant) = *place {
        return Err(occupant);
    }
    *place = Some(value);
    Ok(())
}

/// Splits `/a/b/c` into `a` and `/b/c`.
fn first_segment(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let segment = path.strip_prefix(b"/")?;
    let end = segment.iter().position(|&byte| byte == b'/').unwrap_or(segment.len());
    Some(segment.split_at(end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree<'t>(templates: &[&'t str]) -> Tree<&'t str> {
        let mut tree = Tree::default();
        for text in templates {
            tree.insert(&Template::parse(text).unwrap(), *text).unwrap();
        }
        tree
    }

    #[test]
    fn fixed_beats_a_name_beats_the_rest_from_the_left() {
        let tree = tree(&[
            "/",
            "/v1/orders",
            "/v1/{kind}",
            "/v1/orders/{id}",
            "/v1/orders/new",
            "/v1/{kind}/new/x",
            "/v1/{*rest}",
            "/v2/{*rest}",
            "/{version}/orders/{id}/items",
        ]);
        for (path, found) in [
            ("/", Some("/")),
            ("/v1/orders?x=/", Some("/v1/orders")),
            ("/v1/carts/", Some("/v1/{kind}")),
            ("/v1/orders/7", Some("/v1/orders/{id}")),
            ("/v1/orders/new", Some("/v1/orders/new")),
            ("/v1/orders/new/x", Some("/v1/{kind}/new/x")),
            ("/v1/orders/7/items", Some("/v1/{*rest}")),
            ("/v1", Some("/v1/{*rest}")),
            ("/v2", Some("/v2/{*rest}")),
            ("/v2/a/b/c", Some("/v2/{*rest}")),
            ("/v3/orders/7/items", Some("/{version}/orders/{id}/items")),
            ("/v3/orders/7", None),
            ("/v3", None),
        ] {
            assert_eq!(tree.find(&Path::parse(path.as_bytes()).unwrap()), found, "{path}");
        }
    }

    #[test]
    fn an_equal_template_is_refused_with_the_one_that_stands() {
        let mut tree = tree(&["/a/{x}", "/a/{*x}"]);
        assert_eq!(tree.insert(&Template::parse("/a/{y}/").unwrap(), "new"), Err("/a/{x}"));
        assert_eq!(tree.insert(&Template::parse("/a/{*y}").unwrap(), "new"), Err("/a/{*x}"));
        assert_eq!(tree.insert(&Template::parse("/a/{y}/b").unwrap(), "new"), Ok(()));
    }

    #[test]
    fn a_hostile_path_sees_no_node_twice() {
        // Every template of eight segments over `a` and `{x}`, none of which the path ends in: the worst there is.
        let mut tree = Tree::default();
        for bits in 0..256 {
            let text: String = (0..8).map(|place| if bits >> place & 1 == 1 { "/a" } else { "/{x}" }).collect();
            tree.insert(&Template::parse(&text).unwrap(), bits).unwrap();
        }
        let mut steps = 0;
        assert_eq!(tree.search(&b"/a".repeat(32_768), || steps += 1), None);
        assert_eq!(steps, tree.nodes.len());
    }

    #[test]
    fn a_template_of_a_million_segments_can_be_found_and_dropped() {
        let text = "/a".repeat(1_000_000);
        let tree = tree(&[&text]);
        assert!(tree.find(&Path::parse(text.as_bytes()).unwrap()).is_some());
    }

    /// How well `template` matches, the lower the better, compared from the left; None where it does not.
    fn naive(template: &str, path: &str) -> Option<Vec<u8>> {
        let split = |text: &str| text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let (template, path) = (split(template), split(path));
        let mut ranks = Vec::new();
        for (place, part) in template.iter().enumerate() {
            match (part.as_str(), path.get(place)) {
                ("{*r}", _) => return Some([ranks, vec![2]].concat()),
                ("{x}", Some(_)) => ranks.push(1),
                (fixed, Some(segment)) if fixed == segment => ranks.push(0),
                _ => return None,
            }
        }
        (template.len() == path.len()).then_some(ranks)
    }

    proptest! {
        #[test]
        fn the_tree_finds_what_a_scan_of_all_templates_finds(
            templates in prop::collection::vec("(/(a|b|\\{x\\})){0,4}(/\\{\\*r\\})?", 1..12),
            path in "(/[ab]){0,5}",
        ) {
            let mut tree = Tree::default();
            let texts: Vec<String> = templates.iter().map(|text| format!("/{}", text.trim_start_matches('/'))).collect();
            for text in &texts {
                let _ = tree.insert(&Template::parse(text).unwrap(), text.as_str());
            }
            let path = format!("/{}", path.trim_start_matches('/'));
            // Where a template ends with the path, nothing more is compared: the end beats a rest that takes nothing.
            let expected = texts.iter().filter_map(|text| naive(text, &path).map(|ranks| (ranks, text.as_str()))).min();
            prop_assert_eq!(tree.search(path.as_bytes(), || ()), expected.map(|(_, text)| text));
            let mut all = tree.all(&Path::parse(path.as_bytes()).unwrap());
            let mut fitting: Vec<&str> = tree.iter().filter(|text| naive(text, &path).is_some()).collect();
            all.sort_unstable();
            fitting.sort_unstable();
            prop_assert_eq!(all, fitting);
        }
    }
}
