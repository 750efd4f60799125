//! The index on redb as it was at one moment.
//!
//! Must never answer "no such row" when the engine failed.

use std::ops::Bound;

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata as _};

use super::engine::{failed, guard};
use super::index::{Snapshot, Space, Visit};
use super::redb_index::{META_APPLIED, number, table};
use crate::store::StoreError;

/// The index at one moment.
pub(super) struct Read(pub(super) ReadTransaction);

impl Snapshot for Read {
    fn applied_next(&self) -> Result<u64, StoreError> {
        Ok(number(self.get(Space::Meta, META_APPLIED)?)?.unwrap_or(1))
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        guard(|| {
            let rows = self.0.open_table(table(space)).map_err(failed)?;
            let row = rows.get(key).map_err(failed)?;
            Ok(row.map(|r| r.value().to_vec()))
        })
    }

    fn scan(
        &self,
        space: Space,
        from: Bound<&[u8]>,
        to: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        guard(|| {
            let rows = self.0.open_table(table(space)).map_err(failed)?;
            let to = to.map_or(Bound::Unbounded, Bound::Excluded);
            if let (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to)) = (from, to)
                && from >= to
            {
                return Ok(());
            }
            for entry in ReadableTable::range::<&[u8]>(&rows, (from, to)).map_err(failed)? {
                let (key, row) = entry.map_err(failed)?;
                if !visit(key.value(), row.value())? {
                    break;
                }
            }
            Ok(())
        })
    }

    fn len(&self, space: Space) -> Result<u64, StoreError> {
        guard(|| {
            let rows = self.0.open_table(table(space)).map_err(failed)?;
            rows.len().map_err(failed)
        })
    }
}
