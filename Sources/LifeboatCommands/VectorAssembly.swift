// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatPolicy
import LifeboatStores

extension StackAssembly {
    func qdrant(_ qdrant: QdrantPolicy, _ name: String) throws -> QdrantStore {
        QdrantStore(
            url: qdrant.url,
            key: try serviceKey(qdrant.apiKey, "API key of Qdrant at '\(qdrant.url)'", "\(name).qdrant.api_key"),
            collections: qdrant.collections, certificates: qdrant.certificates,
            container: qdrant.container.map { (serverContainer($0), runner) },
            stateFolder: try PendingWork.stateFolder(session.context))
    }

    func chroma(_ chroma: ChromaPolicy, _ name: String) throws -> any DataStore {
        let server = try chroma.server.map { server in
            ChromaStore(
                url: server.url,
                token: try serviceKey(server.token, "token of Chroma at '\(server.url)'", "\(name).chroma.token"),
                tenant: server.tenant, database: server.database, certificates: server.certificates,
                container: server.container.map { (serverContainer($0), runner) },
                stateFolder: try PendingWork.stateFolder(session.context))
        }
        if let path = chroma.path {
            return ChromaFolderStore(path: path, server: server, runner: runner)
        }
        guard let server else {
            throw LifeboatError("component '\(name)' names neither a server nor a folder", exitCode: .usage)
        }
        return server
    }

    /// `place`: where the policy names it, below `components`.
    private func serviceKey(_ reference: SecretReference?, _ subject: String, _ place: String) throws -> Secret? {
        guard let reference else { return nil }
        do {
            return try secrets.resolve(reference, for: subject, cancellation: session.context.cancellation)
        } catch {
            guard error.hint == nil, error.exitCode != .interrupted else { throw error }
            throw LifeboatError(
                error.message, causes: error.causes,
                hint: "Correct 'components.\(place)' in the policy, or what it names.", exitCode: error.exitCode)
        }
    }
}
