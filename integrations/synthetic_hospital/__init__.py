"""A hospital with known truth and scripted faults, for the demo, the tests and the benchmarks.

`write_hospital(Hospital(patients=8000), folder)` writes what its EHR and LIS would send.
"""

from integrations.synthetic_hospital.hospital import Hospital
from integrations.synthetic_hospital.write import HospitalFiles, Night, write_hospital

__all__ = ["Hospital", "HospitalFiles", "Night", "write_hospital"]
