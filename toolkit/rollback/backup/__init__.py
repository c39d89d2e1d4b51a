"""The backup: made whole before anything is changed, found out when it is not whole any more, and kept.

emergency                    makes one of database, migration state and deployments; reads and requires one
conditions                   what must hold before one is begun
database_dump                the dump, and what is read from the same snapshot:
  table_proofs, left_out     fingerprints of all tables; what a dump of schemas leaves out
  measuring                  checksums and counts of rows, in one pass, while the dump is written
states                       what stands beside the dump: migrations, deployments
manifest, inspection         what a backup says of itself, and whether that is so (level one)
proof, verified              restored, and its fingerprints compared (levels two and three); the record of it
keeping, encryption          which there are and which may go; encrypted copies for elsewhere
foreign, foreign_*           dumps that others made
aside                        a folder that appears whole or not at all
"""

from toolkit.rollback.backup.emergency import (
    BEGUN,
    FAILED,
    FOLDER,
    MADE,
    Backup,
    EmergencyBackup,
    MadeBackup,
    emergency_backup,
    inspect_backup,
    make_backup,
    read_backup,
    require_backup,
)

__all__ = [
    "BEGUN",
    "FAILED",
    "FOLDER",
    "MADE",
    "Backup",
    "EmergencyBackup",
    "MadeBackup",
    "emergency_backup",
    "inspect_backup",
    "make_backup",
    "read_backup",
    "require_backup",
]
