"""Imaging studies of a PACS by DICOMweb QIDO-RS: metadata only, and of it no more than the tables need."""
