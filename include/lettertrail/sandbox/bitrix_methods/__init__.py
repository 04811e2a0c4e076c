"""The methods of the Bitrix REST sandbox, each a plain function `(portal, params) -> Reply`."""
