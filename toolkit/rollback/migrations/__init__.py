"""The folder of migrations as the team's migration tool sees it: which versions there are, and which can go down.

Owns reading files; it knows nothing of the database (see `state_tables`) and runs nothing. A layout is one small module
here: it reads its tool's files and gives them in the order in which that tool would run them.
"""

from toolkit.rollback.migrations.folder import LARGEST_VERSION, Migration, MigrationFolder, Script
from toolkit.rollback.migrations.layout import read_script
from toolkit.rollback.migrations.reading import LAYOUTS, read_folder

__all__ = ["LARGEST_VERSION", "LAYOUTS", "Migration", "MigrationFolder", "Script", "read_folder", "read_script"]
