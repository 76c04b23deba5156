"""Runs become a verdict: scenarios, runs, the judge, the report, and the doctor who looks before."""
