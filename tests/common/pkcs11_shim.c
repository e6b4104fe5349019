/* A PKCS#11 module in front of SoftHSM that misbehaves on demand. Files in its own directory say how:
 *
 *   softhsm2.conf  SoftHSM's configuration
 *   hang           calls that look for tokens or use keys wait until it is gone
 *   removed        the token was pulled out of its slot
 *   once           the next use of a key returns the value that is written in it, and the file goes
 *   no-gcm         there is no CKM_AES_GCM
 *   no-aad         CKM_AES_GCM leaves additional data out of account
 *   logins         gets a dot for each C_Login
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REAL "/usr/lib/softhsm/libsofthsm2.so"
#define CKR_GENERAL_ERROR 0x05
#define CKR_DEVICE_REMOVED 0x32
#define CKR_MECHANISM_INVALID 0x70
#define CKR_TOKEN_NOT_PRESENT 0xE0
#define CKM_AES_GCM 0x1087

typedef unsigned long ck;

/* CK_FUNCTION_LIST of version 2.40. */
struct list {
    unsigned char version[2];
    void *f[68];
};
enum { INITIALIZE = 0, GET_FUNCTION_LIST = 3, GET_SLOT_LIST = 4, GET_TOKEN_INFO = 6, GET_MECHANISM_INFO = 8, LOGIN = 18,
       ENCRYPT_INIT = 29, DECRYPT_INIT = 33, WRAP_KEY = 60, UNWRAP_KEY = 61 };

struct mechanism { ck type; void *parameter; ck length; };
struct gcm { void *iv; ck iv_len, iv_bits; void *aad; ck aad_len, tag_bits; };

static struct list *real, shown;
static char dir[4000];

static const char *file(const char *name)
{
    static __thread char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int is(const char *name)
{
    return access(file(name), F_OK) == 0;
}

static void hang(void)
{
    while (is("hang"))
        usleep(10000);
}

/* What a use of a key returns instead of being done; 0 if it is to be done. */
static ck trouble(void)
{
    hang();
    if (is("removed"))
        return CKR_DEVICE_REMOVED;
    FILE *once = fopen(file("once"), "r");
    if (!once)
        return 0;
    ck value = 0;
    int read = fscanf(once, "%lx", &value);
    fclose(once);
    unlink(file("once"));
    return read == 1 ? value : CKR_GENERAL_ERROR;
}

static ck initialize(void *args)
{
    hang();
    setenv("SOFTHSM2_CONF", file("softhsm2.conf"), 1);
    return ((ck (*)(void *))real->f[INITIALIZE])(args);
}

static ck get_slot_list(unsigned char present, ck *list, ck *count)
{
    hang();
    return ((ck (*)(unsigned char, ck *, ck *))real->f[GET_SLOT_LIST])(present, list, count);
}

static ck get_token_info(ck slot, void *info)
{
    if (is("removed"))
        return CKR_TOKEN_NOT_PRESENT;
    return ((ck (*)(ck, void *))real->f[GET_TOKEN_INFO])(slot, info);
}

static ck get_mechanism_info(ck slot, ck type, void *info)
{
    if (type == CKM_AES_GCM && is("no-gcm"))
        return CKR_MECHANISM_INVALID;
    return ((ck (*)(ck, ck, void *))real->f[GET_MECHANISM_INFO])(slot, type, info);
}

static ck login(ck session, ck user, void *pin, ck length)
{
    FILE *logins = fopen(file("logins"), "a");
    if (logins) {
        fputc('.', logins);
        fclose(logins);
    }
    return ((ck (*)(ck, ck, void *, ck))real->f[LOGIN])(session, user, pin, length);
}

static ck begin(int function, ck session, struct mechanism *mechanism, ck key)
{
    ck value = trouble();
    if (value)
        return value;
    if (mechanism->type == CKM_AES_GCM && is("no-aad"))
        ((struct gcm *)mechanism->parameter)->aad_len = 0;
    return ((ck (*)(ck, void *, ck))real->f[function])(session, mechanism, key);
}

static ck encrypt_init(ck session, struct mechanism *mechanism, ck key)
{
    return begin(ENCRYPT_INIT, session, mechanism, key);
}

static ck decrypt_init(ck session, struct mechanism *mechanism, ck key)
{
    return begin(DECRYPT_INIT, session, mechanism, key);
}

static ck wrap_key(ck session, void *mechanism, ck wrapping, ck key, void *out, ck *length)
{
    ck value = trouble();
    return value ? value
                 : ((ck (*)(ck, void *, ck, ck, void *, ck *))real->f[WRAP_KEY])(session, mechanism, wrapping, key, out,
                                                                                 length);
}

static ck unwrap_key(ck session, void *mechanism, ck key, void *in, ck length, void *template, ck count, ck *made)
{
    ck value = trouble();
    return value ? value
                 : ((ck (*)(ck, void *, ck, void *, ck, void *, ck, ck *))real->f[UNWRAP_KEY])(
                       session, mechanism, key, in, length, template, count, made);
}

ck C_GetFunctionList(struct list **list)
{
    Dl_info own;
    if (!dladdr((void *)C_GetFunctionList, &own) || strlen(own.dli_fname) >= sizeof dir)
        return CKR_GENERAL_ERROR;
    strcpy(dir, own.dli_fname);
    *strrchr(dir, '/') = 0;
    void *library = dlopen(REAL, RTLD_NOW | RTLD_LOCAL);
    ck (*get)(struct list **) = library ? (ck (*)(struct list **))dlsym(library, "C_GetFunctionList") : NULL;
    if (!get || get(&real))
        return CKR_GENERAL_ERROR;
    shown = *real;
    shown.f[INITIALIZE] = initialize;
    shown.f[GET_FUNCTION_LIST] = C_GetFunctionList;
    shown.f[GET_SLOT_LIST] = get_slot_list;
    shown.f[GET_TOKEN_INFO] = get_token_info;
    shown.f[GET_MECHANISM_INFO] = get_mechanism_info;
    shown.f[LOGIN] = login;
    shown.f[ENCRYPT_INIT] = encrypt_init;
    shown.f[DECRYPT_INIT] = decrypt_init;
    shown.f[WRAP_KEY] = wrap_key;
    shown.f[UNWRAP_KEY] = unwrap_key;
    *list = &shown;
    return 0;
}
