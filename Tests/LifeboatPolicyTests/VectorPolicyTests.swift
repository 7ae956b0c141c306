// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatPolicy
import Testing

@Suite struct VectorPolicyTests {
    private func store(_ text: String) throws -> StorePolicy {
        let policy = try PolicyParser.parse(
            "stack: a\nrepository: /r\nencryption: none\ncomponents: {v: {\(text)}}\n", source: nil, folder: "/p")
        return policy.components[0].store
    }

    @Test func `a Qdrant server is read`() throws {
        #expect(
            try store(#"qdrant: {url: "http://127.0.0.1:6333/"}"#)
                == .qdrant(QdrantPolicy(url: "http://127.0.0.1:6333")))
        #expect(
            try store(
                #"qdrant: {url: "https://q/base", api_key: {env: K}, collections: [a, "ü b"], certificates: ca.pem}"#)
                == .qdrant(
                    QdrantPolicy(
                        url: "https://q/base", apiKey: .environment("K"), collections: ["a", "ü b"],
                        certificates: "/p/ca.pem")))
    }

    @Test func `a Chroma server and a Chroma folder are read`() throws {
        #expect(
            try store(#"chroma: {url: "http://c:8000", token: {file: t}, tenant: us, database: one}"#)
                == .chroma(
                    ChromaPolicy(
                        server: .init(url: "http://c:8000", token: .file("/p/t"), tenant: "us", database: "one"))))
        #expect(try store("chroma: {path: ./chroma}") == .chroma(ChromaPolicy(path: "/p/chroma")))
        #expect(
            try store(#"chroma: {path: /c, url: "http://c:8000"}"#)
                == .chroma(ChromaPolicy(path: "/c", server: .init(url: "http://c:8000"))))
    }

    @Test func `a server may be a service of Compose`() throws {
        #expect(
            try store("qdrant: {service: vectors, project: shop}")
                == .qdrant(
                    QdrantPolicy(url: "http://vectors:6333", container: .service("vectors", project: "shop"))))
        #expect(
            try store("chroma: {service: notes, port: 9000}")
                == .chroma(
                    ChromaPolicy(server: .init(url: "http://notes:9000", container: .service("notes", project: nil)))))
        let queue = try store("redis: {service: queue}")
        #expect(queue == .redis(RedisPolicy(container: .service("queue", project: nil))))
        #expect(queue.service == "queue")
        #expect(try store("redis: {container: queue-1}").service == nil)
    }
}

/// As `diagnosticCases`, for vector stores.
let vectorDiagnosticCases = ##"""
    === qdrant without its url, with a misspelt key
    stack: demo
    repository: /r
    encryption: none
    components: {v: {qdrant: {api-key: {env: K}}}}
    --- expected
    lifeboat.yaml:4:26: 'components.v.qdrant' needs the key 'url'
    lifeboat.yaml:4:27: unknown key 'api-key' in 'components.v.qdrant'
      hint: Did you mean 'api_key'?
    === qdrant with a literal key and a login in the url
    stack: demo
    repository: /r
    encryption: none
    components:
      v: {qdrant: {url: "http://me:hunter2@q:6333", api_key: hunter2}}
    --- expected
    lifeboat.yaml:5:21: 'components.v.qdrant.url' holds a user or password, which a policy must not hold
      hint: Name the key under 'api_key'.
    lifeboat.yaml:5:58: 'components.v.qdrant.api_key' is a literal secret, which a policy must not hold
      hint: Write one of {env: NAME}, {file: PATH}, {command: [PROGRAM, ARGUMENT]} or {credential: NAME}.
    === qdrant with what is no address
    stack: demo
    repository: /r
    encryption: none
    components:
      a: {qdrant: {url: "127.0.0.1:6333"}}
      b: {qdrant: {url: "http://q?x=1"}}
    --- expected
    lifeboat.yaml:5:21: 'components.a.qdrant.url' must be an http:// or https:// URL with a host
      hint: Write it like http://127.0.0.1:6333.
    lifeboat.yaml:6:21: 'components.b.qdrant.url' must be an address without '?' and '#'
      hint: Write it like http://127.0.0.1:6333.
    === qdrant collections
    stack: demo
    repository: /r
    encryption: none
    components:
      a: {qdrant: {url: "http://q", collections: []}}
      b: {qdrant: {url: "http://r", collections: [x, x, {}]}}
    --- expected
    lifeboat.yaml:5:46: 'components.a.qdrant.collections' is empty
      hint: Name at least one collection or alias, or remove the key for all of them.
    lifeboat.yaml:6:50: 'components.b.qdrant.collections' names 'x' twice
    lifeboat.yaml:6:53: 'components.b.qdrant.collections' must be a list of names of collections or aliases, not a mapping
    === two components with one collection
    stack: demo
    repository: /r
    encryption: none
    components:
      a: {qdrant: {url: "http://q", collections: [x, y]}}
      b: {qdrant: {url: "http://q/", collections: [z, y]}}
      c: {chroma: {url: "http://c"}}
      d: {chroma: {url: "http://c", database: one}}
    --- expected
    lifeboat.yaml:6:3: the components 'a' and 'b' have a common collection
      hint: Keep it in one of them, by naming others under 'collections'.
    lifeboat.yaml:8:3: the components 'c' and 'd' have a common database
      hint: Keep it in one of them, by naming others under 'database'.
    === chroma without a place, or with words for a server alone
    stack: demo
    repository: /r
    encryption: none
    components:
      a: {chroma: {tenant: x}}
      b: {chroma: {path: ./c, token: {env: T}, database: d}}
    --- expected
    lifeboat.yaml:5:15: 'components.a.chroma' needs the key 'url', 'service' or 'path'
      hint: 'url' and 'service' read the records from the server, 'path' copies its folder on this host.
    lifeboat.yaml:6:27: 'components.b.chroma.token' means nothing without 'url'
      hint: Remove it, or name the server that runs on the folder.
    lifeboat.yaml:6:44: 'components.b.chroma.database' means nothing without 'url'
      hint: Remove it, or name the server that runs on the folder.
    === servers by url and by service
    stack: demo
    repository: /r
    encryption: none
    components:
      a: {chroma: {url: "http://c:8000", service: c}}
      b: {qdrant: {url: "http://q:6333", port: 6333, project: p}}
    --- expected
    lifeboat.yaml:5:38: 'components.a.chroma.url' and 'components.a.chroma.service' exclude each other
      hint: Keep one of them.
    lifeboat.yaml:6:38: 'components.b.qdrant.port' means nothing without 'service'
      hint: Name the service of Docker Compose that runs the server, or give its 'url'.
    lifeboat.yaml:6:50: 'components.b.qdrant.project' means nothing without 'service'
      hint: Name the service of Docker Compose that runs the server, or give its 'url'.
    === a volume inside a chroma folder
    stack: demo
    repository: /r
    encryption: none
    components:
      a: {chroma: {path: /srv/chroma}}
      b: {volume: {path: /srv/chroma/more}}
    --- expected
    lifeboat.yaml:6:3: the component 'b' lies inside of 'a'
      hint: A restore would exchange one inside the other: keep one of them.
    """##
