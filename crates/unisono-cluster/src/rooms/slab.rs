//! A vector with holes: stable indices, reused after removal, trailing holes given back.

/// Values by a `u32` index that stays the same until the value is removed.
#[derive(Debug)]
pub(super) struct Slab<T> {
    entries: Vec<Option<T>>,
    /// Indices that were vacated. May name an index beyond the end or one in use again: [`Slab::insert`] skips those, and empties
    /// this list before the entries grow, so that it never holds more than one index per removal since then.
    vacated: Vec<u32>,
    occupied: usize,
    generation: u32,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
            vacated: Vec::new(),
            occupied: 0,
            generation: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.occupied
    }

    /// One more than the largest index in use, at least.
    pub(super) fn bound(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity() + self.vacated.capacity()
    }

    /// A number that no earlier call gave, until it wraps after 2^32 insertions.
    pub(super) fn next_generation(&mut self) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    pub(super) fn insert(&mut self, value: T) -> u32 {
        self.occupied += 1;
        while let Some(index) = self.vacated.pop() {
            if let Some(entry @ None) = self.entries.get_mut(index as usize) {
                *entry = Some(value);
                return index;
            }
        }
        self.entries.push(Some(value));
        (self.entries.len() - 1) as u32
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.entries.get(index as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entries.get_mut(index as usize)?.as_mut()
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let value = self.entries.get_mut(index as usize)?.take()?;
        self.occupied -= 1;
        self.vacated.push(index);
        while let Some(None) = self.entries.last() {
            self.entries.pop();
        }
        super::shrink_vec(&mut self.entries);
        if self.entries.is_empty() {
            self.vacated = Vec::new();
        }
        Some(value)
    }

    /// Index and value of everything here, in order of index.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.entries
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| Some((index as u32, entry.as_ref()?)))
    }
}
