//! From records to files: how the disk stood at a moment, and what a power cut could have made of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::image::Image;
use super::journal::{History, Record};
use crate::chance::Chance;

mod file;

use file::{Change, FileNode};

/// A file or directory, whatever its names are.
type NodeId = usize;

/// The watched directory itself.
const ROOT: NodeId = 0;

#[derive(Debug)]
enum Node {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Debug, Default)]
struct DirNode {
    /// With the power on.
    names: BTreeMap<OsString, NodeId>,
    /// At the beginning of the history.
    names_before: BTreeMap<OsString, NodeId>,
    /// Changes of names before this record are on the disk.
    synced: usize,
}

/// A change of names that comes whole or not at all.
#[derive(Debug)]
struct Naming {
    at: usize,
    changes: Vec<(NodeId, OsString, Option<NodeId>)>,
}

/// The disk at a moment of its history.
#[derive(Debug)]
pub struct Moment<'a> {
    history: &'a History,
    nodes: Vec<Node>,
    namings: Vec<Naming>,
    handles: HashMap<u64, NodeId>,
    /// The syncs under way: what they sync, and the record at which they began.
    syncs: HashMap<u64, (NodeId, usize)>,
}

impl<'a> Moment<'a> {
    pub(super) fn replay(history: &'a History, records: usize) -> Self {
        let mut moment = Self {
            history,
            nodes: vec![Node::Dir(DirNode::default())],
            namings: Vec::new(),
            handles: HashMap::new(),
            syncs: HashMap::new(),
        };
        for (path, content) in &history.base.entries {
            let node = match content {
                None => Node::Dir(DirNode::default()),
                Some(bytes) => Node::File(FileNode::on_disk(bytes.clone())),
            };
            let (dir, name) = moment
                .parent(path)
                .expect("a directory comes before what is in it");
            moment.nodes.push(node);
            let id = moment.nodes.len() - 1;
            moment.dir_mut(dir).names.insert(name, id);
        }
        for node in &mut moment.nodes {
            if let Node::Dir(dir) = node {
                dir.names_before = dir.names.clone();
            }
        }
        for (at, (id, record)) in history.records.iter().take(records).enumerate() {
            moment.apply(at, *id, record);
        }
        moment
    }

    /// What the directory holds as long as the power stays on.
    pub fn with_power(&self) -> Image {
        let namings = vec![true; self.namings.len()];
        self.image(&namings, |file| file.with_power(&self.history.bytes))
    }

    /// What it could hold after the power was cut at this moment.
    pub fn after_cut(&self, chance: &mut Chance) -> Image {
        let namings = self.surviving_names(chance);
        self.image(&namings, |file| file.after_cut(&self.history.bytes, chance))
    }

    /// Where a record's change shows.
    pub(super) fn places_of(&self, record: &Record) -> BTreeSet<PathBuf> {
        match record {
            Record::Write { handle, .. } | Record::Truncate { handle, .. } => {
                let paths = self.paths();
                let node = self.handles.get(handle);
                let found = paths.into_iter().filter(|(_, id)| Some(id) == node);
                found.map(|(path, _)| path).collect()
            }
            Record::Rename { from, to } | Record::Link { from, to } => [from.clone(), to.clone()].into(),
            Record::Open { path, .. } | Record::Unlink { path } | Record::MakeDir { path } => {
                [path.clone()].into()
            }
            Record::SyncBegin { .. } | Record::SyncEnd { .. } | Record::Nothing => BTreeSet::new(),
        }
    }

    fn apply(&mut self, at: usize, id: u64, record: &Record) {
        match record {
            Record::Open {
                path,
                creates,
                truncates,
            } => self.open(at, id, path, *creates, *truncates),
            Record::Write { handle, offset, data } => {
                let (offset, data) = (*offset, data.clone());
                self.change(at, *handle, Change::Write { offset, data });
            }
            Record::Truncate { handle, bytes } => self.change(at, *handle, Change::Resize(*bytes)),
            Record::SyncBegin { handle } => {
                if let Some(node) = self.handles.get(handle) {
                    self.syncs.insert(id, (*node, at));
                }
            }
            Record::SyncEnd { begin } => {
                if let Some((node, at)) = self.syncs.remove(begin) {
                    match &mut self.nodes[node] {
                        Node::File(file) => file.sync(at),
                        Node::Dir(dir) => dir.synced = dir.synced.max(at),
                    }
                }
            }
            Record::Rename { from, to } => {
                if let (Some(node), Some(from), Some(to)) =
                    (self.find(from), self.parent(from), self.parent(to))
                {
                    self.name(at, vec![(from.0, from.1, None), (to.0, to.1, Some(node))]);
                }
            }
            Record::Unlink { path } => {
                if let (Some(_), Some((dir, name))) = (self.find(path), self.parent(path)) {
                    self.name(at, vec![(dir, name, None)]);
                }
            }
            Record::MakeDir { path } => self.make(at, path, Node::Dir(DirNode::default())),
            Record::Link { from, to } => {
                if let (Some(node), Some((dir, name))) = (self.find(from), self.parent(to)) {
                    self.name(at, vec![(dir, name, Some(node))]);
                }
            }
            Record::Nothing => {}
        }
    }

    fn open(&mut self, at: usize, id: u64, path: &Path, creates: bool, truncates: bool) {
        if creates && self.find(path).is_none() {
            self.make(at, path, Node::File(FileNode::default()));
        }
        if let Some(node) = self.find(path) {
            self.handles.insert(id, node);
            if truncates {
                self.change(at, id, Change::Resize(0));
            }
        }
    }

    fn make(&mut self, at: usize, path: &Path, node: Node) {
        if let (None, Some((dir, name))) = (self.find(path), self.parent(path)) {
            self.nodes.push(node);
            self.name(at, vec![(dir, name, Some(self.nodes.len() - 1))]);
        }
    }

    fn change(&mut self, at: usize, handle: u64, change: Change) {
        if let Some(node) = self.handles.get(&handle)
            && let Node::File(file) = &mut self.nodes[*node]
        {
            file.change(at, change);
        }
    }

    fn name(&mut self, at: usize, changes: Vec<(NodeId, OsString, Option<NodeId>)>) {
        for (dir, name, node) in &changes {
            set_name(&mut self.dir_mut(*dir).names, name, *node);
        }
        self.namings.push(Naming { at, changes });
    }

    /// Which changes of names are on the disk: those that were synced, and of the others what chance says.
    fn surviving_names(&self, chance: &mut Chance) -> Vec<bool> {
        let synced = |naming: &Naming| {
            let mut dirs = naming.changes.iter().map(|(dir, _, _)| *dir);
            dirs.any(|dir| matches!(&self.nodes[dir], Node::Dir(node) if naming.at < node.synced))
        };
        let mut kept: Vec<bool> = self.namings.iter().map(synced).collect();
        if chance.happens(1, 2) {
            // A journal: whatever came before one that is there is there as well.
            let least = kept.iter().rposition(|kept| *kept).map_or(0, |last| last + 1);
            let end = chance.index(least..kept.len() + 1);
            return (0..kept.len()).map(|at| at < end).collect();
        }
        // Each directory for itself, in its own order; a rename between two of them binds both.
        let mut reached: HashMap<NodeId, usize> = HashMap::new();
        for dir in 0..self.nodes.len() {
            let own: Vec<usize> = (0..kept.len())
                .filter(|at| self.namings[*at].concerns(dir))
                .collect();
            if !own.is_empty() {
                let count = match chance.below(3) {
                    0 => 0,
                    1 => own.len(),
                    _ => chance.index(0..own.len() + 1),
                };
                reached.insert(dir, own[..count].last().map_or(0, |last| last + 1));
            }
        }
        loop {
            let before = kept.clone();
            for (at, naming) in self.namings.iter().enumerate() {
                if kept[at] {
                    for (dir, _, _) in &naming.changes {
                        let end = reached.entry(*dir).or_default();
                        *end = (*end).max(at + 1);
                    }
                }
            }
            for (at, naming) in self.namings.iter().enumerate() {
                kept[at] |= naming.changes.iter().any(|(dir, _, _)| at < reached[dir]);
            }
            if kept == before {
                return kept;
            }
        }
    }

    fn image(&self, kept: &[bool], mut content: impl FnMut(&FileNode) -> Vec<u8>) -> Image {
        let mut names: HashMap<NodeId, BTreeMap<OsString, NodeId>> = HashMap::new();
        for (id, node) in self.nodes.iter().enumerate() {
            if let Node::Dir(dir) = node {
                names.insert(id, dir.names_before.clone());
            }
        }
        for (naming, _) in self.namings.iter().zip(kept).filter(|(_, kept)| **kept) {
            for (dir, name, node) in &naming.changes {
                set_name(
                    names.get_mut(dir).expect("a name stands in a directory"),
                    name,
                    *node,
                );
            }
        }
        let mut image = Image::default();
        let mut folders = vec![(PathBuf::new(), ROOT)];
        while let Some((folder, dir)) = folders.pop() {
            for (name, id) in &names[&dir] {
                let path = folder.join(name);
                let entry = match &self.nodes[*id] {
                    Node::File(file) => Some(content(file).into()),
                    Node::Dir(_) => {
                        folders.push((path.clone(), *id));
                        None
                    }
                };
                image.entries.insert(path, entry);
            }
        }
        image
    }

    /// Every path with the power on, and what it names.
    fn paths(&self) -> Vec<(PathBuf, NodeId)> {
        let mut paths = Vec::new();
        let mut folders = vec![(PathBuf::new(), ROOT)];
        while let Some((folder, dir)) = folders.pop() {
            if let Node::Dir(node) = &self.nodes[dir] {
                for (name, id) in &node.names {
                    folders.push((folder.join(name), *id));
                    paths.push((folder.join(name), *id));
                }
            }
        }
        paths
    }

    fn find(&self, path: &Path) -> Option<NodeId> {
        path.iter().try_fold(ROOT, |dir, name| match &self.nodes[dir] {
            Node::Dir(node) => node.names.get(name).copied(),
            Node::File(_) => None,
        })
    }

    fn parent(&self, path: &Path) -> Option<(NodeId, OsString)> {
        let dir = self.find(path.parent()?)?;
        matches!(self.nodes[dir], Node::Dir(_)).then_some(())?;
        Some((dir, path.file_name()?.to_owned()))
    }

    fn dir_mut(&mut self, id: NodeId) -> &mut DirNode {
        match &mut self.nodes[id] {
            Node::Dir(dir) => dir,
            Node::File(_) => unreachable!("only directories have names in them"),
        }
    }
}

impl Naming {
    fn concerns(&self, dir: NodeId) -> bool {
        self.changes.iter().any(|(concerned, _, _)| *concerned == dir)
    }
}

fn set_name(names: &mut BTreeMap<OsString, NodeId>, name: &OsStr, node: Option<NodeId>) {
    match node {
        Some(node) => names.insert(name.to_owned(), node),
        None => names.remove(name),
    };
}

/// The parts of `range` that lie in each unit of `unit_bytes`: the unit, and where in the range.
fn units(range: Range<u64>, unit_bytes: u64) -> impl Iterator<Item = (u64, Range<u64>)> {
    let first = range.start / unit_bytes;
    let end = if range.is_empty() {
        first
    } else {
        (range.end - 1) / unit_bytes + 1
    };
    (first..end).map(move |unit| {
        let from = (unit * unit_bytes).max(range.start);
        let to = ((unit + 1) * unit_bytes).min(range.end);
        (unit, from..to)
    })
}
