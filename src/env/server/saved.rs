//! Saved states of servers: folders that are removed with the last that refers to them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

/// Where one site's saved states are.
#[derive(Debug)]
pub(super) struct Store {
    root: TempDir,
    /// Bytes of all that is saved.
    bytes: AtomicU64,
    most: u64,
}

impl Store {
    /// An empty store that takes `most` bytes.
    pub(super) fn new(most: u64) -> Result<Self, String> {
        let root = tempfile::Builder::new()
            .prefix("branchline-checkpoints-")
            .tempdir()
            .map_err(|error| format!("there is no room for checkpoints: {error}"))?;
        Ok(Self {
            root,
            bytes: AtomicU64::new(0),
            most,
        })
    }

    /// An empty folder for a state.
    pub(super) fn begin(self: &Arc<Self>) -> Result<Saved, String> {
        if self.bytes.load(Ordering::SeqCst) >= self.most {
            return Err(format!(
                "the checkpoints take more than {} MB (see `megabytes` of [checkpoint])",
                self.most >> 20
            ));
        }
        let folder = tempfile::Builder::new()
            .prefix("checkpoint-")
            .tempdir_in(self.root.path())
            .map_err(|error| format!("there is no room for a checkpoint: {error}"))?
            .keep();
        let id = folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        Ok(Saved {
            id: id.unwrap_or_default(),
            folder,
            bytes: 0,
            store: Arc::clone(self),
        })
    }
}

/// One saved state.
#[derive(Debug)]
pub(super) struct Saved {
    /// Its name for HTTP hooks: ours, or what the server answered.
    pub(super) id: String,
    folder: PathBuf,
    bytes: u64,
    store: Arc<Store>,
}

impl Saved {
    /// Where the copies of the files are.
    pub(super) fn files(&self) -> &Path {
        &self.folder
    }

    /// The folder that command hooks save to.
    pub(super) fn of_hook(&self) -> PathBuf {
        self.folder.join("hook")
    }

    /// Counts what was saved.
    pub(super) fn weigh(&mut self) {
        self.bytes = weight(&self.folder);
        self.store.bytes.fetch_add(self.bytes, Ordering::SeqCst);
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        self.store.bytes.fetch_sub(self.bytes, Ordering::SeqCst);
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

fn weight(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let weigh = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => weight(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.flatten().map(weigh).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_counted_bounded_and_removed() {
        let store = Arc::new(Store::new(1 << 20).unwrap());
        let mut saved = store.begin().unwrap();
        let folder = saved.files().to_owned();
        std::fs::create_dir(saved.of_hook()).unwrap();
        std::fs::write(saved.of_hook().join("big"), vec![0; 1 << 20]).unwrap();
        saved.weigh();
        let full = store.begin().unwrap_err();
        assert!(full.contains("more than 1 MB"), "{full}");
        drop(saved);
        assert!(!folder.exists());
        store.begin().unwrap();
    }
}
