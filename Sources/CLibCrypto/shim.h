// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stddef.h>

/* HKDF-SHA-256 (RFC 5869). Here because OSSL_PARAM arrays hold pointers that must live as long as the call. 1 on success. */
static inline int lifeboat_hkdf_sha256(
    const unsigned char *key, size_t key_size, const unsigned char *salt, size_t salt_size,
    const unsigned char *info, size_t info_size, unsigned char *result, size_t result_size)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    EVP_KDF_free(kdf); /* the context holds it */
    if (context == NULL) return 0;
    OSSL_PARAM parameters[5];
    size_t count = 0;
    parameters[count++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA2-256", 0);
    parameters[count++] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)key, key_size);
    /* Without a salt the KDF takes zero bytes, as RFC 5869 says of an empty one. */
    if (salt_size > 0)
        parameters[count++] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt, salt_size);
    parameters[count++] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)info, info_size);
    parameters[count] = OSSL_PARAM_construct_end();
    int status = EVP_KDF_derive(context, result, result_size, parameters);
    EVP_KDF_CTX_free(context);
    return status;
}

/* BLAKE2b-512 of one buffer. EVP_Digest takes the algorithm as a pointer that a function returns. 1 on success. */
static inline int lifeboat_blake2b512(const void *bytes, size_t size, unsigned char *result)
{
    unsigned int written = 0;
    return EVP_Digest(bytes, size, result, &written, EVP_blake2b512(), NULL) == 1 && written == 64;
}

/* HMAC-SHA-256 of one buffer. 1 on success. */
static inline int lifeboat_hmac_sha256(
    const unsigned char *key, size_t key_size, const unsigned char *bytes, size_t size, unsigned char *result)
{
    unsigned int written = 0;
    return HMAC(EVP_sha256(), key, (int)key_size, bytes, size, result, &written) != NULL && written == 32;
}

/* A running SHA-256 (`bits` 256) or SHA-1 (160); NULL when there is no memory or the algorithm is switched off. */
static inline EVP_MD_CTX *lifeboat_digest_start(int bits)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context != NULL && EVP_DigestInit_ex(context, bits == 160 ? EVP_sha1() : EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(context);
        context = NULL;
    }
    return context;
}
