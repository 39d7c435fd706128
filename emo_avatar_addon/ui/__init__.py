"""Panels, which only draw."""
