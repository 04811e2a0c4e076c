"""The Bitrix site: which tables are copied (`catalog`), and two transports (`sql`, `rest`)."""
