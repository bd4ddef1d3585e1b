"""The usage warehouse: raw usage files to profiles in DuckDB and HubSpot. ARCHITECTURE.md is the plan of the house."""
