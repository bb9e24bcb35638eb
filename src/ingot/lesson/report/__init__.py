"""The lesson's report: tables and pictures of what the experiments measured."""
