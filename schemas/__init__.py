"""The words of Scenelake: table schemas, the records beside them, errors and configuration."""
