//! The rules of one bucket as a trie over prefixes whose nodes are tries over reversed suffixes.
//!
//! A walk visits only nodes that the key itself spells: rules that do not match are never looked at.

use std::collections::HashSet;

use crate::config::Rule;
use crate::event::{EventKind, EventSet};
use crate::queue::TargetNo;

/// The compiled rules of all buckets that the same patterns match.
#[derive(Debug)]
pub(super) struct BucketRules {
    prefixes: Trie<Trie<Terminal>>,
    nodes: usize,
}

/// The rules with exactly one prefix and one suffix: the code of a kind and the rule's number, sorted.
#[derive(Debug, Default)]
struct Terminal(Vec<(u8, u32)>);

impl BucketRules {
    /// Compiles rules given in the order of their numbers.
    pub(super) fn build<'r>(rules: impl Iterator<Item = (u32, TargetNo, &'r Rule)>) -> Self {
        let mut prefixes: Trie<Trie<Terminal>> = Trie::default();
        // What an earlier rule of the same target takes at the same place, a later one never can.
        let mut taken: HashSet<(&str, &str, TargetNo, u8)> = HashSet::new();
        for (n, target, rule) in rules {
            let mut reversed = rule.suffix.clone().into_bytes();
            reversed.reverse();
            let codes = codes(rule.events).filter(|c| taken.insert((&rule.prefix, &rule.suffix, target, *c)));
            let codes: Vec<(u8, u32)> = codes.map(|code| (code, n)).collect();
            if !codes.is_empty() {
                prefixes.at(rule.prefix.as_bytes()).at(&reversed).0.extend(codes);
            }
        }
        let mut nodes = prefixes.len();
        prefixes.each_value(|suffixes| {
            nodes += suffixes.len();
            suffixes.each_value(|terminal| terminal.0.sort_unstable());
        });
        Self { prefixes, nodes }
    }

    /// Adds the numbers of every rule that matches, in no order, and says how many nodes were visited.
    pub(super) fn collect(&self, key: &[u8], kind: EventKind, into: &mut Vec<u32>) -> usize {
        let mut visited = 0;
        let code = kind.code();
        visited += self.prefixes.walk(
            key.len(),
            |at| key[at],
            |suffixes| {
                let last = key.len().wrapping_sub(1);
                visited += suffixes.walk(
                    key.len(),
                    |at| key[last - at],
                    |terminal| {
                        let from = terminal.0.partition_point(|(c, _)| *c < code);
                        into.extend(
                            terminal.0[from..].iter().take_while(|(c, _)| *c == code).map(|(_, n)| *n),
                        );
                    },
                );
            },
        );
        visited
    }

    /// How many nodes it has: what it costs in memory.
    pub(super) fn nodes(&self) -> usize {
        self.nodes
    }
}

fn codes(events: EventSet) -> impl Iterator<Item = u8> {
    EventKind::ALL.iter().filter(move |kind| events.contains(**kind)).map(|kind| kind.code())
}

/// A trie with whole runs of bytes on its edges. Node 0 is the root; its label is empty.
#[derive(Debug)]
struct Trie<T> {
    nodes: Vec<Node<T>>,
}

#[derive(Debug)]
struct Node<T> {
    /// The bytes that lead here from the parent.
    label: Box<[u8]>,
    /// Children by the first byte of their labels, sorted.
    children: Vec<(u8, u32)>,
    value: Option<T>,
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { nodes: vec![Node { label: Box::default(), children: Vec::new(), value: None }] }
    }
}

impl<T: Default> Trie<T> {
    /// The value at `key`, made if there is none.
    fn at(&mut self, key: &[u8]) -> &mut T {
        let mut node = 0;
        let mut rest = key;
        while let Some(first) = rest.first() {
            let child = match self.child(node, *first) {
                Ok(place) => self.nodes[node].children[place].1 as usize,
                Err(place) => {
                    let leaf = self.push(rest.into());
                    self.nodes[node].children.insert(place, (*first, leaf as u32));
                    leaf
                }
            };
            let label = &self.nodes[child].label;
            let common = label.iter().zip(rest).take_while(|(a, b)| a == b).count();
            if common < label.len() {
                self.split(child, common);
            }
            node = child;
            rest = &rest[common..];
        }
        self.nodes[node].value.get_or_insert_default()
    }

    /// Cuts the label of `node` after `at` bytes; what hung on it hangs on a new child.
    fn split(&mut self, node: usize, at: usize) {
        let label = std::mem::take(&mut self.nodes[node].label);
        let lower = self.push(label[at..].into());
        self.nodes[lower].children = std::mem::take(&mut self.nodes[node].children);
        self.nodes[lower].value = self.nodes[node].value.take();
        self.nodes[node].label = label[..at].into();
        self.nodes[node].children.push((label[at], lower as u32));
    }

    fn push(&mut self, label: Box<[u8]>) -> usize {
        self.nodes.push(Node { label, children: Vec::new(), value: None });
        self.nodes.len() - 1
    }
}

impl<T> Trie<T> {
    fn len(&self) -> usize {
        self.nodes.len()
    }

    fn child(&self, node: usize, first: u8) -> Result<usize, usize> {
        self.nodes[node].children.binary_search_by_key(&first, |(byte, _)| *byte)
    }

    fn each_value(&mut self, mut each: impl FnMut(&mut T)) {
        self.nodes.iter_mut().filter_map(|node| node.value.as_mut()).for_each(&mut each);
    }

    /// Visits the value of every key that is a beginning of the `len` bytes given by `byte`, shortest first.
    /// Says how many nodes it went through.
    fn walk(&self, len: usize, byte: impl Fn(usize) -> u8, mut found: impl FnMut(&T)) -> usize {
        let (mut node, mut done, mut visited) = (0, 0, 1);
        loop {
            if let Some(value) = &self.nodes[node].value {
                found(value);
            }
            if done == len {
                return visited;
            }
            let Ok(place) = self.child(node, byte(done)) else { return visited };
            node = self.nodes[node].children[place].1 as usize;
            visited += 1;
            let label = &self.nodes[node].label;
            let fits =
                label.len() <= len - done && label.iter().enumerate().all(|(n, b)| byte(done + n) == *b);
            if !fits {
                return visited;
            }
            done += label.len();
        }
    }
}
