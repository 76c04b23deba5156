"""The engines, one module for each library, called as the library is."""
