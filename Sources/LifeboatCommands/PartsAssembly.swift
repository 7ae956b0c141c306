// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatPolicy
import LifeboatStores

/// Stores made for named parts of a component: what else restores do is the same for them.
extension StackAssembly {
    func store(_ component: ComponentPolicy, limitedTo parts: [String]) throws -> any DataStore {
        switch component.store {
        case .volume(let volume): return self.volume(volume).limited(to: parts)
        case .models(let models): return self.models(models).limited(to: parts)
        case .qdrant(let qdrant): return try self.qdrant(qdrant, component.name).limited(to: parts)
        case .chroma(let chroma):
            guard let server = try self.chroma(chroma, component.name) as? ChromaStore else { break }
            return server.limited(to: parts)
        case .postgres(let postgres):
            guard let database = try self.postgres(postgres, component.name) as? PostgresStore else { break }
            return PostgresTableStore(database, tables: parts)
        case .sqlite, .redis, .command: break
        }
        throw PartKind.misfit(component)
    }
}
