//! The records of a pod's containers, by name.

use super::Record;

/// The records of a pod's containers, init containers included, by name and in the order of names. A list that takes
/// no more room than it needs: most pods have one container, and a process may have tens of thousands of pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records(Vec<(String, Record)>);

impl Records {
    /// No records.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.as_str().cmp(name))
    }

    /// The record of a container.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Record> {
        self.position(name).ok().map(|index| &self.0[index].1)
    }

    /// The record of a container, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Record> {
        self.position(name).ok().map(|index| &mut self.0[index].1)
    }

    /// The record of a container; a new one if there is none yet.
    pub fn get_or_default(&mut self, name: &str) -> &mut Record {
        let index = self.position(name).unwrap_or_else(|index| {
            self.0.reserve_exact(1);
            self.0.insert(index, (name.to_owned(), Record::default()));
            index
        });
        &mut self.0[index].1
    }

    /// Puts a record in the place of any former one.
    pub fn insert(&mut self, name: &str, record: Record) {
        *self.get_or_default(name) = record;
    }

    /// The names.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.0.iter().map(|(name, _)| name)
    }

    /// The records.
    pub fn values(&self) -> impl Iterator<Item = &Record> {
        self.0.iter().map(|(_, record)| record)
    }

    /// The records, to change them.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        self.0.iter_mut().map(|(_, record)| record)
    }

    /// Names and records.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Record)> {
        self.0.iter().map(|(name, record)| (name, record))
    }
}

impl std::ops::Index<&str> for Records {
    type Output = Record;

    /// # Panics
    /// When the container has none.
    fn index(&self, name: &str) -> &Record {
        self.get(name).expect("the container has a record")
    }
}

impl FromIterator<(String, Record)> for Records {
    fn from_iter<I: IntoIterator<Item = (String, Record)>>(records: I) -> Self {
        let mut all = Self::new();
        for (name, record) in records {
            all.insert(&name, record);
        }
        all
    }
}

impl<const N: usize> From<[(String, Record); N]> for Records {
    fn from(records: [(String, Record); N]) -> Self {
        records.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_and_told_in_the_order_of_names() {
        let with = |restarts| Record { restarts, ..Record::default() };
        let mut records = Records::from([("b".to_owned(), with(1)), ("a".to_owned(), with(2))]);
        records.get_or_default("c").restarts = 3;
        records.insert("a", with(4));
        let told: Vec<(&str, i32)> =
            records.iter().map(|(n, r)| (n.as_str(), r.restarts)).collect();
        assert_eq!(told, [("a", 4), ("b", 1), ("c", 3)]);
        assert_eq!(records.get("b").map(|r| r.restarts), Some(1));
        assert_eq!(records.get("d"), None);
    }
}
