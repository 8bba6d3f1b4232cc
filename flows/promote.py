"""Make an approved version the champion: the audit chain first, MLflow's alias after it."""

from prefect import flow

from flows.house import House, at, open_house
from flows.parameters import AsOf, UseCaseName
from flows.run_log import recorded_run
from flows.step import step
from models.governance.promotion import Promotion, challenger
from models.governance.promotion import promote as promote_version


@flow(name="promote")
def promote(use_case: UseCaseName, version: int, as_of: AsOf = None) -> Promotion:
    """Make a version the champion once its gate has passed and two people have signed it."""
    house, moment = open_house(), at(as_of)
    with recorded_run(house, "promote", as_of=moment, use_case=use_case):
        promotion = promote_version(house.records, use_case=use_case, version=version, as_of=moment)
        project_aliases(house, use_case, promotion)
        return promotion


@step
def project_aliases(house: House, use_case: str, promotion: Promotion) -> None:
    """Let MLflow show what the chain says; scoring does not read it."""
    if promotion.champion is not None:
        house.registry.set_alias(use_case, promotion.champion, "champion")
    with house.records.read() as connection:
        newest = challenger(connection, use_case)
    if newest is not None:
        house.registry.set_alias(use_case, newest, "challenger")
    elif "challenger" in house.registry.aliases(use_case):
        house.registry.clear_alias(use_case, "challenger")
